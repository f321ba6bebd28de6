"""Turn a pickled weight file into safetensors: in a process of its own, reading weights alone.

``python -m velatura.models.convert SOURCE TARGET`` is that process. torch's weights_only reader
makes tensors and plain values and refuses whatever else the pickle asks for.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velatura.models.errors import ModelError
from velatura.models.weights import PICKLES, check_safetensors

if TYPE_CHECKING:
    import torch

# Diffusers' and transformers' own names for the two forms of one part.
_RENAMED = {"pytorch_model": "model"}
# Where training programs put the weights in what they save.
_INNER = ("state_dict", "model_state_dict", "params_ema", "params", "model")
# A textual inversion of A1111's: {"string_to_param": {"*": vectors}}.
_TERMS, _VECTORS = "string_to_param", "emb_params"
_REFUSED, _LONGEST_WORD = 3, 200


def targets(source: Path) -> list[tuple[Path, Path]]:
    """(pickle, what it becomes) for a file, or for every pickle in a folder.

    Raises ModelError when there is nothing to convert or it was converted before.
    """
    if source.is_dir():
        found = sorted(p for p in source.rglob("*") if p.suffix.lower() in PICKLES and p.is_file())
        # Diffusers folders also hold training state and other pickles that are no weights.
        found = [p for p in found if (p.parent / "config.json").is_file() or p.parent == source]
    else:
        found = [source] if source.suffix.lower() in PICKLES and source.is_file() else []
    if not found:
        raise ModelError(
            "unsupported",
            f"{source.name} holds nothing to convert: name a {', '.join(sorted(PICKLES))} file, or "
            "a folder with some.",
        )
    pairs = [(p, p.with_name(f"{_stem(p)}.safetensors")) for p in found]
    left = [pair for pair in pairs if not pair[1].exists()]
    if not left:
        raise ModelError(
            "unsupported", f"{pairs[0][1].name} is there already: move it away to convert again."
        )
    return left


def convert(source: Path, target: Path) -> None:
    """Write the weights in the pickle ``source`` as ``target``, which appears whole or not at all.

    Raises ModelError with one sentence; then nothing is left behind.
    """
    part = target.with_name(target.name + ".part")
    command = [sys.executable, "-m", "velatura.models.convert", str(source), str(part)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
        said = done.stderr.strip().splitlines()
        if done.returncode == _REFUSED and said:
            raise ModelError("unsupported", f"{source.name}: {said[-1][:1000]}")
        if done.returncode != 0:
            raise ModelError(
                "unsupported",
                f"{source.name}: the reader ended with status {done.returncode}; it may be broken "
                "or larger than this machine's memory: get a safetensors version.",
            )
        check_safetensors(part)
        part.replace(target)
    except OSError as error:
        raise ModelError(
            "unsupported", f"{target.name} could not be written ({error.strerror})."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def tensors_in(value: Any) -> dict[str, torch.Tensor]:
    """The weights in what a pickle held, by name. Raises ModelError when there are none."""
    if isinstance(value, Mapping) and isinstance(value.get(_TERMS), Mapping):
        vectors = list(dict(_flat(value[_TERMS])).values())
        if len(vectors) == 1:
            return {_VECTORS: vectors[0]}
    while isinstance(value, Mapping):
        inner = next((value[n] for n in _INNER if isinstance(value.get(n), Mapping)), None)
        if inner is None:
            break
        value = inner
    found = dict(_flat(value))
    if not found:
        raise ModelError("unsupported", "it holds no weights.")
    return found


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    import torch

    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))


def _stem(path: Path) -> str:
    stem, dot, variant = path.stem.partition(".")
    return _RENAMED.get(stem, stem) + dot + variant


def _main(source: Path, target: Path) -> int:
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        try:
            # Mapped, so that a large file need not fit twice; old files cannot be.
            value = torch.load(source, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:
            value = torch.load(source, map_location="cpu", weights_only=True)
        # Shared and strided weights become files' plain ones.
        tensors = {
            name: one.detach().clone().contiguous() for name, one in tensors_in(value).items()
        }
        save_file(tensors, target, {"format": "pt"})
    except pickle.UnpicklingError as error:
        print(_refusal(str(error)), file=sys.stderr)
    except ModelError as error:
        print(error.message, file=sys.stderr)
    except (OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0][:_LONGEST_WORD]
        print(f"it could not be written ({reason}): free some space.", file=sys.stderr)
    except Exception:  # noqa: BLE001  whatever a broken file makes torch's reader raise
        print("it is broken or no file of PyTorch's: get a safetensors version.", file=sys.stderr)
    else:
        return 0
    return _REFUSED


def _refusal(message: str) -> str:
    """One sentence of torch's many about what the pickle asked for."""
    asked = re.search(r"GLOBAL ([\w.]+)", message)
    if asked is None:
        return "it is broken or asks for more than weights: get a safetensors version."
    return (
        f"it asks for {asked[1][:_LONGEST_WORD]}, which is more than weights and could run code: "
        "get a safetensors version."
    )


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), Path(sys.argv[2])))
