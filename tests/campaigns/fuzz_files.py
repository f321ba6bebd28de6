"""Mutate files of every kind in a models folder; each must fail alone, with a sentence.

``python tests/campaigns/fuzz_files.py --files 10000`` is the long form; the tests run the short one.
After each mutation the library is looked at as the worker does it: nothing may be raised, the models
that were not touched must be listed, and the catalogue must be one that can be sent.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from ldm import full_size, save_sparse  # noqa: E402
from record import keep  # noqa: E402
from velatura.models.errors import ModelError  # noqa: E402
from velatura.models.families.single import CONFIGS  # noqa: E402
from velatura.models.library import Library  # noqa: E402
from velatura.models.starter.recipe.tiny import make_tiny  # noqa: E402
from velatura.models.styles import Styles  # noqa: E402
from velatura.protocol.codec import encode  # noqa: E402
from velatura.protocol.messages import Catalogue  # noqa: E402
from velatura.server.worker.residency.addons import describe  # noqa: E402

_KEY = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
_SLOW = 5.0
_NUMBERS: tuple[Any, ...] = (0, -1, 1, 7, 2**31, 2**63, 10**6, 0.5, 1e308, 10**19)
_VALUES: tuple[Any, ...] = (
    None, True, "", "x" * 300, "a\0b", "\ud800", "../x", [], {}, [[]], [None], {"a": []},
    [1] * 100, {"dtype": "F32"}, float("nan"), float("inf"), *_NUMBERS,
)  # fmt: skip
_TEXTS = (b"", b"[]", b"{}", b"null", b"[" * 50_000, b'{"a":' * 5_000, b"\x00\xff\xfe", b"1" * 4299)


@dataclass(frozen=True)
class Kind:
    """One kind of file: where an untouched one lies and how its text is found in it."""

    name: str
    path: str
    binary: bool = False


KINDS = (
    Kind("header", "single.safetensors", binary=True),
    Kind("config", "tiny/model_index.json"),
    Kind("config", "tiny/unet/config.json"),
    Kind("config", "tiny/vae/config.json"),
    Kind("config", "tiny/text_encoder/config.json"),
    Kind("config", "tiny/scheduler/scheduler_config.json"),
    Kind("tokenizer", "tiny/tokenizer/tokenizer.json"),
    Kind("weights", "tiny/text_encoder/model.safetensors", binary=True),
    Kind("LoRA", "loras/ink.safetensors", binary=True),
    Kind("embedding", "embeddings/word.safetensors", binary=True),
    Kind("net", "controlnet/net/config.json"),
    Kind("net", "controlnet/canny.safetensors", binary=True),
    Kind("yaml", "more.yaml"),
    Kind("style", "styles/wash.toml"),
)


def make_folder(root: Path) -> Path:
    """Make a models folder with one file of each kind, and ``good``, which nothing touches."""
    made = make_tiny(root / "tiny")
    make_tiny(root / "good")
    (made / "controlnet-line").rename(root / "net")
    (root / "controlnet").mkdir()
    (root / "net").rename(root / "controlnet" / "net")
    save_sparse(root / "single.safetensors", full_size(CONFIGS / "sd15"))
    down, up = f"{_KEY}.lora_down.weight", f"{_KEY}.lora_up.weight"
    save_sparse(root / "loras" / "ink.safetensors", {down: (1, 768), up: (640, 1)})
    save_sparse(root / "embeddings" / "word.safetensors", {"emb_params": (2, 768)})
    hint = "controlnet_cond_embedding.conv_in.weight"
    attention = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    net = {"conv_in.weight": (320, 4, 3, 3), hint: (16, 3, 3, 3), attention: (320, 768)}
    save_sparse(root / "controlnet" / "canny.safetensors", net)
    (root / "more.yaml").write_text("a:\n  base_path: /none\n  loras: x\n")
    (root / "styles").mkdir()
    (root / "styles" / "wash.toml").write_text('steps = 4\nafter = ", wash"\n[loras]\nink = 0.5\n')
    return root


def mutate_json(value: Any, dice: random.Random) -> Any:
    """Put something else in the place of one node of a JSON value, or take a node away."""
    nodes = list(_nodes(value))
    if not nodes:
        return _choose(dice)
    holder, key = dice.choice(nodes)
    kind = dice.randrange(4)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[dice.choice(("", "x" * 500, "a\0b", "\u202e", str(key) + "x"))] = holder.pop(key)
    else:
        holder[key] = _choose(dice)
    return value


def _choose(dice: random.Random) -> Any:
    """A value of its own: the next mutation may put something into it."""
    return copy.deepcopy(dice.choice(_VALUES))


def mutate(content: bytes, kind: Kind, dice: random.Random) -> bytes:
    """Give another content for a file of ``kind``: of another structure, or of other bytes."""
    if dice.random() < 0.1:
        return dice.choice(_TEXTS)
    head, text, tail = b"", content, b""
    if kind.binary:
        length = int.from_bytes(content[:8], "little")
        text, tail = content[8 : 8 + length], content[8 + length :]
    if dice.random() < 0.6 and not kind.path.endswith((".yaml", ".toml")):
        made = mutate_json(json.loads(text), dice)
        if dice.random() < 0.1:
            made = mutate_json(made, dice)
        text = json.dumps(made).replace("NaN", dice.choice(("NaN", "9" * 4299))).encode()
    else:
        text = _mutate_bytes(text, dice)
    if kind.binary:
        head = struct.pack("<Q", len(text) if dice.random() < 0.9 else dice.choice((0, 2**63, 9)))
    return head + text + tail


def _nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()  # fmt: skip
    for key, inner in list(items):
        yield value, key
        yield from _nodes(inner)


def _mutate_bytes(text: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(text) + 1)
    to = min(len(text), at + dice.choice((0, 1, 1, 8, 1000)))
    new = dice.choice(
        (b"", bytes([dice.randrange(256)]), b"\0", b'"', b"[" * 300, b"9" * 4299, b"&a [*a]")
    )
    return text[:at] + new + text[to:]


def look(library: Library, styles: Styles) -> int:
    """Look at the disk as the worker does; the number of what cannot be used."""
    seen = library.snapshot()
    assert "good" in seen.entries, "what was not touched is gone"
    addons = describe(seen.addons, seen.models)
    encode(Catalogue(models=seen.models, addons=addons, styles=styles.styles()))
    for entry in seen.entries.values():
        with suppress(ModelError):
            assert entry.weight.numbers >= 0
            assert entry.prediction
    unusable = [*(one.reason for one in seen.unusable), *styles.unusable()]
    unusable += [one.reason for one in seen.addons if one.reason]
    assert all(reason and "\n" not in reason for reason in unusable)
    return len(unusable)


def campaign(
    folder: Path, files: int, seed: int = 0, told: Callable[[int], None] = lambda done: None
) -> Counter[str]:
    """Mutate ``files`` files one after another; how many of each kind were told as unusable.

    Raises AssertionError with the seed and the file for the first that does more than that.
    """
    root = make_folder(folder)
    library = Library([root, root / "more.yaml"], starter=folder / "none")
    styles = Styles([root / "styles"])
    usual = look(library, styles)
    refused: Counter[str] = Counter()
    contents = {kind: _content(root / kind.path) for kind in KINDS}
    for number in range(files):
        dice = random.Random(f"{seed}/{number}")
        kind = KINDS[number % len(KINDS)]
        path, (content, size) = root / kind.path, contents[kind]
        path.write_bytes(mutate(content, kind, dice))
        if size and dice.random() < 0.9:
            with path.open("r+b") as file:
                file.truncate(path.stat().st_size - len(content) + size)
        begun = time.monotonic()
        try:
            refused[kind.name] += look(library, styles) > usual
            assert time.monotonic() - begun < _SLOW, "it took too long"
        except Exception as error:
            kept = Path(tempfile.gettempdir()) / f"fuzz-{seed}-{number}-{path.name}"
            kept.write_bytes(path.read_bytes()[: 2**24])
            raise AssertionError(f"{kind.path}, file {number} of seed {seed}: {kept}") from error
        path.write_bytes(content)
        if size:
            with path.open("r+b") as file:
                file.truncate(size)
        told(number + 1)
    return refused


def _content(path: Path) -> tuple[bytes, int]:
    """(what is mutated of a file, its size in bytes where that is not all of it)."""
    size = path.stat().st_size
    if path.suffix != ".safetensors":
        return path.read_bytes(), 0
    with path.open("rb") as file:
        start = file.read(8)
        return start + file.read(int.from_bytes(start, "little")), size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep what was found as JSON")
    given = parser.parse_args()

    def told(done: int) -> None:
        if done % 500 == 0:
            print(f"{done} files", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        refused = campaign(Path(folder) / "models", given.files, given.seed, told)
    print(f"{given.files} files of seed {given.seed} in {time.monotonic() - begun:.0f} s")
    print("told as unusable: " + ", ".join(f"{n} {kind}" for kind, n in sorted(refused.items())))
    if given.out:
        keep(given.out, {"files": given.files, "seed": given.seed, "unusable": dict(refused)})


if __name__ == "__main__":
    main()
