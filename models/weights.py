"""Weight files on disk: which ones a folder has, whether they are whole, and their digest.

Standard library only: nothing here loads a tensor.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from velatura.models.errors import ModelError

PICKLES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl"})
_STEMS = ("diffusion_pytorch_model", "model")
# As the Hub calls them, the preferred first; whatever else a file is called is taken where it is
# the only one.
_VARIANTS = (None, "fp16", "bf16", "fp32", "ema", "non_ema")
_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
}
# Python's own names of the floats that it can read.
_CODES = {"F16": "e", "F32": "f"}

LARGEST_HEADER = 16 * 2**20
_MOST_DIGITS = 20
_MOST_DIMENSIONS = 16
_LARGEST_SIZE = 2**48
FileStamp = tuple[Path, int, int, int]


@dataclass(frozen=True)
class Weights:
    """The safetensors files of one part, and their variant as the Hub names it (``fp16``)."""

    files: tuple[Path, ...]
    variant: str | None


def parse_json(text: bytes) -> Any:
    """The value that ``text`` spells. ValueError also for a whole number of more than 20 digits.

    No model holds one, and arithmetic with it takes minutes. Infinity stays: schedulers' own
    configs have it.
    """
    return json.loads(text, parse_int=_bounded)


def _bounded(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def read_json(path: Path, *, largest: int = 16 * 2**20) -> dict[str, Any]:
    """The JSON object in ``path``; ModelError when it is none or takes more than ``largest`` bytes."""
    try:
        with path.open("rb") as file:
            text = file.read(largest + 1)
        if len(text) > largest:
            raise ModelError("unsupported", f"{path.name} is too large: at most {largest} bytes.")
        value = parse_json(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            "unsupported", f"{path.parent.name}/{path.name} is not readable JSON: get it again."
        ) from error
    if not isinstance(value, dict):
        raise ModelError("unsupported", f"{path.parent.name}/{path.name} must be a JSON object.")
    return value


def find_weights(part: Path) -> Weights:
    """The weights of the part in folder ``part``, without opening them.

    Raises ModelError: ``missing_weights`` when there are none, ``unsupported`` when there are
    pickles only.
    """
    for variant in _VARIANTS:
        for stem in _STEMS:
            infix = f".{variant}" if variant else ""
            single = part / f"{stem}{infix}.safetensors"
            if single.is_file():
                return Weights((single,), variant)
            index = part / f"{stem}.safetensors.index{infix}.json"
            if index.is_file():
                return Weights(_shards(index), variant)
    pickle = find_pickle(part)
    if pickle:
        raise ModelError(
            "unsupported",
            f"{part.name}/{pickle} is a pickle, which can run code and is never loaded: turn it "
            "into safetensors with `velatura convert`.",
        )
    raise ModelError("missing_weights", f"{part.name} has no safetensors weights: get it again.")


def files_of(path: Path) -> tuple[Path, ...]:
    """The weights at ``path``, a part's folder or one file. Raises ModelError as ``find_weights``."""
    return find_weights(path).files if path.is_dir() else (path,)


def stamp_of(path: Path) -> FileStamp:
    """(path, size, time of the content, time of whatever changed last) of one file.

    The last tells where a file was put in another's place with its size and its time.
    """
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def find_pickle(folder: Path) -> str | None:
    """The name of one pickled weight file that lies directly in ``folder``."""
    if not folder.is_dir():
        return None
    return next((p.name for p in sorted(folder.iterdir()) if p.suffix.lower() in PICKLES), None)


def _shards(index: Path) -> tuple[Path, ...]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ModelError("unsupported", f"{index.parent.name}/{index.name} lists no weights.")
    files = []
    for name in sorted({str(name) for name in names.values()}):
        # A shard is a file beside its index; anything else is a path to somewhere else.
        if not name.endswith(".safetensors") or any(c in name for c in "/\\:"):
            raise ModelError(
                "unsupported",
                f"{index.parent.name}/{index.name} names a shard outside its folder.",
            )
        path = index.parent / name
        if not path.is_file():
            raise ModelError(
                "missing_weights", f"{index.parent.name}/{name:.100} is missing: get it again."
            )
        files.append(path)
    return tuple(files)


def check_safetensors(path: Path, *, largest_header: int = LARGEST_HEADER) -> None:
    """Check that ``path`` is a whole safetensors file; raises ModelError as ``read_header`` does."""
    read_header(path, largest_header=largest_header)


@dataclass(frozen=True)
class Header:
    """What the header of a safetensors file says: its tensors by name, and its maker's words."""

    path: Path
    tensors: Mapping[str, Mapping[str, Any]]
    metadata: Mapping[str, str]
    length: int

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of the tensor called ``name``; None where there is none."""
        return tuple(self.tensors[name]["shape"]) if name in self.tensors else None

    def has(self, start: str) -> bool:
        """Whether the name of any tensor begins with ``start``."""
        return any(name.startswith(start) for name in self.tensors)

    @property
    def numbers(self) -> int:
        """How many numbers there are in all tensors."""
        return sum(math.prod(tensor["shape"]) for tensor in self.tensors.values())

    def count(self, without: str) -> dict[str, int]:
        """How many numbers there are of each dtype in tensors whose names begin otherwise."""
        count: dict[str, int] = {}
        for name, tensor in self.tensors.items():
            if name.startswith(without):
                continue
            count[tensor["dtype"]] = count.get(tensor["dtype"], 0) + math.prod(tensor["shape"])
        return count

    def values(self, name: str, *, most: int = 4096) -> list[float]:
        """The numbers of one tensor of F16 or F32 with at most ``most`` of them; else none."""
        tensor = self.tensors.get(name, {})
        code = _CODES.get(tensor.get("dtype", ""))
        count = math.prod(tensor.get("shape", ()))
        if code is None or count > most:
            return []
        with self.path.open("rb") as file:
            file.seek(8 + self.length + tensor["data_offsets"][0])
            content = file.read(count * struct.calcsize(code))
        return list(struct.unpack(f"<{count}{code}", content))


def read_header(path: Path, *, largest_header: int = LARGEST_HEADER) -> Header:
    """Read the header of a safetensors file and check that the file is whole.

    Raises ModelError (``unsupported``) for a header beyond ``largest_header`` bytes, a file that
    ends early or goes on, and tensors that overlap, leave gaps or do not fit their shapes; OSError
    where it cannot be read. Source: the format's specification in the safetensors repository.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                raise _Broken("it ends early")
            if length > largest_header:
                raise _Broken(f"its header is larger than {largest_header} bytes")
            tensors = _parse_header(file.read(length))
        words = tensors.pop("__metadata__", None)
        _check_spans(tensors, size - 8 - length)
    except _Broken as fault:
        raise ModelError(
            "unsupported",
            f"{path.parent.name}/{path.name} is broken ({fault}): get the file again.",
        ) from fault
    words = words if isinstance(words, dict) else {}
    return Header(path, tensors, {str(k): str(v) for k, v in words.items()}, length)


class _Broken(Exception):
    """Why a file is no safetensors file."""


def _parse_header(text: bytes) -> dict[str, Any]:
    try:
        header = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise _Broken("its header is not JSON") from error
    if not isinstance(header, dict):
        raise _Broken("its header is not an object")
    return header


def _check_spans(tensors: Mapping[str, Any], content: int) -> None:
    """Check that the tensors fill ``content`` bytes without gaps."""
    try:
        spans = sorted(_span(tensor, content) for tensor in tensors.values())
    except (KeyError, TypeError, ValueError) as error:
        raise _Broken("its header describes a tensor wrongly") from error
    end = 0
    for start, stop in spans:
        if start != end:
            raise _Broken("its tensors overlap or leave gaps")
        end = stop
    if end != content:
        raise _Broken("it ends early" if end > content else "it goes on after its last tensor")


def _span(tensor: Mapping[str, Any], content: int) -> tuple[int, int]:
    start, stop = tensor["data_offsets"]
    shape, bits = tensor["shape"], _BITS[tensor["dtype"]]
    if not isinstance(shape, list) or len(shape) > _MOST_DIMENSIONS:
        raise ValueError("a shape is no list of sizes")
    if not all(type(n) is int and 0 <= n <= _LARGEST_SIZE for n in (start, stop, *shape)):
        raise ValueError("a size is not a whole number")
    if 8 * (stop - start) != bits * math.prod(shape):
        raise ValueError("the bytes do not fit the shape")
    return start, stop


class Digests:
    """SHA-256 of weight files, each read once for as long as its size and time stay the same."""

    def __init__(self) -> None:
        self._known: dict[FileStamp, bytes] = {}
        self._thread = ThreadPoolExecutor(1, "digest")

    def of(self, files: Iterable[Path]) -> str:
        """The first 16 hex digits over the contents of ``files``, in their order.

        Contents alone: the same weights have the same digest on every machine and by any name.
        """
        total = hashlib.sha256()
        for path in files:
            total.update(self._one(path))
        return total.hexdigest()[:16]

    def later(self, files: Iterable[Path]) -> Callable[[], str]:
        """Begin to compute the same beside other work; the result waits for it."""
        return self._thread.submit(self.of, tuple(files)).result

    def _one(self, path: Path) -> bytes:
        key = stamp_of(path)
        if key not in self._known:
            with path.open("rb") as file:
                self._known[key] = hashlib.file_digest(file, "sha256").digest()
        return self._known[key]
