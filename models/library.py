"""What is on disk. A model's name is a key in this library, never a path.

Listing reads config files only and imports no torch, so that a command line can list at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from velatura.models.control_nets import nets_beside, nets_in, serve
from velatura.models.errors import ModelError
from velatura.models.families import FAMILIES
from velatura.models.families.base import Family, Found, Loaded, ReportProgress
from velatura.models.families.single import looks_like
from velatura.models.samplers import SAMPLERS
from velatura.models.weights import (
    PICKLES,
    Digests,
    find_pickle,
    find_weights,
    read_header,
    read_json,
)
from velatura.models.words import describe_words
from velatura.protocol.errors import LocalError
from velatura.protocol.messages import ModelInfo

if TYPE_CHECKING:
    import torch
    from diffusers import ControlNetModel

STARTER = Path(__file__).parent / "starter"
_SINGLE = ".safetensors"
_CONTROL_FOLDER = "controlnet"
# A second UNet beside a model's own: offered as a second model that shares all else.
_DEPTH_UNET = "unet-depth"
_DEPTH_WORDS = "It keeps the depth of what is painted over; to generate it needs a depth guide."
# Beyond twice its native side a model repeats the subject.
_LARGEST_OVER_NATIVE = 2


@dataclass(frozen=True)
class Unusable:
    """Something in a models folder that cannot paint, and one sentence that says why."""

    name: str
    path: Path
    reason: str


@dataclass(frozen=True)
class _Entry:
    path: Path
    family: Family
    found: Found
    controls: Mapping[str, Path]
    info: ModelInfo


class Library:
    """The models in the starter's folder and in ``folders``, whose direct children are one each:
    diffusers folders and single files.

    A sub-folder ``unet-depth`` beside a model's ``unet`` makes a second model, "<name> depth".
    ControlNets are read from ``controlnet-<net>`` beside a model's own sub-folders and from
    ``controlnet/<family>/<net>`` in each of ``folders``. Not thread-safe.
    """

    def __init__(self, folders: Sequence[Path], starter: Path = STARTER) -> None:
        self._folders = tuple(folders)
        self._starter = starter
        self._stamps: object = None
        self._entries: dict[str, _Entry] = {}
        self._unusable: tuple[Unusable, ...] = ()
        self._infos: tuple[ModelInfo, ...] = ()
        self._digests = Digests()

    def models(self) -> tuple[ModelInfo, ...]:
        """What can paint now, the starter first; the same tuple while nothing changes on disk."""
        self._scan()
        return self._infos

    def unusable(self) -> tuple[Unusable, ...]:
        """What lies in the folders but cannot paint."""
        self._scan()
        return self._unusable

    def load(
        self, name: str, device: torch.device | str, dtype: torch.dtype, progress: ReportProgress
    ) -> Loaded:
        """Load the model called ``name``. ``progress`` gets a part 0..1 and what is being done.

        Raises ModelError: ``unknown_model``, or ``missing_weights`` or ``unsupported`` with the
        reason; out of memory passes through as torch's own error. Nothing stays loaded then.
        """
        import torch

        entry = self._entry(name)
        with _naming(name):
            parts = entry.found.parts
            files = [f for part in parts for f in find_weights(entry.path / part).files]
            files = files or [entry.path]
            # Reading for the digest also warms the page cache for the loader beside it.
            with ThreadPoolExecutor(1) as pool:
                digest = pool.submit(self._digests.of, files)
                loaded = entry.family.load(
                    name, entry.path, entry.found, torch.device(device), dtype, progress
                )
                return replace(loaded, digest=digest.result())

    def extra(self, name: str) -> str:
        """What the UNet of the model called ``name`` takes beside the latents, as in Found.

        Raises ModelError (``unknown_model``).
        """
        return self._entry(name).found.extra

    def folder(self, name: str) -> Path:
        """Where the model called ``name`` lies. Raises ModelError (``unknown_model``)."""
        return self._entry(name).path

    def load_control(
        self, model: str, kind: str, device: torch.device | str, dtype: torch.dtype
    ) -> ControlNetModel:
        """Load the ControlNet that serves ``kind`` for ``model``.

        Raises ModelError: ``unknown_model``, ``missing_weights`` when the model has none for that
        kind, ``unsupported`` when its files are broken.
        """
        entry = self._entry(model)
        if kind not in entry.controls:
            there = ", ".join(entry.controls) or "none"
            raise ModelError(
                "missing_weights",
                f"Model {_quote(model)} has no ControlNet for {kind} (it has: {there}); put one "
                f"into {_CONTROL_FOLDER}/{entry.family.name}/{kind} in your models folder.",
                field="controls",
            )
        import torch
        from diffusers import ControlNetModel
        from velatura.models.parts import load_part

        with _naming(model):
            return load_part(ControlNetModel, entry.controls[kind], torch.device(device), dtype)

    def _entry(self, name: str) -> _Entry:
        self._scan()
        if name in self._entries:
            return self._entries[name]
        for other in self._unusable:
            if other.name == name:
                raise ModelError("unsupported", other.reason, field="model")
        names = ", ".join(list(self._entries)[:20]) or "none"
        raise ModelError(
            "unknown_model", f"There is no model {_quote(name)}; there are: {names}.", field="model"
        )

    def _scan(self) -> None:
        stamps = [tuple(_stamps(self._starter, 2))]
        stamps += [tuple(_stamps(folder, 4)) for folder in self._folders]
        if stamps == self._stamps:
            return
        entries: dict[str, _Entry] = {}
        unusable: list[Unusable] = []
        for name, path, unet, root in self._candidates():
            try:
                entry = self._read(name, path, unet, root)
                if entry is None:
                    continue
                if name in entries:
                    raise ModelError(
                        "unsupported", "another model has this name already: rename the folder."
                    )
                entries[name] = entry
            except (ModelError, OSError) as error:
                why = error.message if isinstance(error, ModelError) else "it cannot be read."
                unusable.append(Unusable(name, path, f"Model {_quote(name)}: {why}"))
        self._entries, self._unusable, self._stamps = entries, tuple(unusable), stamps
        self._infos = tuple(entry.info for entry in entries.values())

    def _candidates(self) -> Iterator[tuple[str, Path, str, Path]]:
        """(name, path, its UNet, folder it must stay in) of everything that may be a model."""
        paths = [(self._starter, self._starter)]
        for root in self._folders:
            if root.is_dir():
                paths += [(path, root) for path in sorted(root.iterdir())]
        for path, root in paths:
            if path.name == _CONTROL_FOLDER or path.name.startswith("."):
                continue
            name = path.stem if path.suffix.lower() == _SINGLE and path.is_file() else path.name
            yield name, path, "unet", root
            if (path / _DEPTH_UNET).is_dir() and (path / "unet").is_dir():
                yield f"{path.name} depth", path, _DEPTH_UNET, root

    def _read(self, name: str, path: Path, unet: str, root: Path) -> _Entry | None:
        """The model at ``path``, or None when nothing there looks like one."""
        if _leaves(path, root):
            raise ModelError(
                "unsupported", "it links to files outside the models folder: move them into it."
            )
        if path.suffix.lower() == _SINGLE and path.is_file():
            family, found = _detect_file(path)
        elif path.is_dir():
            if not (path / "model_index.json").is_file():
                _refuse_folder(path)
                return None
            family, found = _detect_folder(path, unet)
        else:
            _refuse_file(path)
            return None
        if unet == _DEPTH_UNET and found.extra != "depth":
            raise ModelError("unsupported", f"{_DEPTH_UNET} must take 5 channels: remove it.")
        for part in found.parts:
            find_weights(path / part)
        if found.extra == "depth":
            # Its guide goes into the UNet itself.
            return _Entry(path, family, found, {}, _info(name, path, family, found, ("depth",)))
        nets = list(nets_beside(path))
        for folder in self._folders:
            nets += nets_in(folder / _CONTROL_FOLDER / family.name)
        controls = serve([net for net in nets if not self._net_leaves(net[1], root)], found.shape)
        return _Entry(
            path, family, found, controls, _info(name, path, family, found, tuple(controls))
        )

    def _net_leaves(self, net: Path, root: Path) -> bool:
        return all(_leaves(net, folder) for folder in (root, *self._folders))


def _detect_folder(path: Path, unet: str) -> tuple[Family, Found]:
    for family in FAMILIES:
        found = family.detect(path, unet)
        if found is not None:
            return family, found
    raise _unknown(str(read_json(path / "model_index.json").get("_class_name", "something else")))


def _detect_file(path: Path) -> tuple[Family, Found]:
    header = read_header(path)
    for family in FAMILIES:
        found = family.detect_file(header)
        if found is not None:
            return family, found
    raise _unknown(looks_like(header))


def _unknown(looks: str) -> ModelError:
    families = ", ".join(family.name for family in FAMILIES)
    return ModelError(
        "unsupported", f"it looks like {looks:.100}; these families can paint: {families}."
    )


def _info(
    name: str, path: Path, family: Family, found: Found, controls: tuple[str, ...]
) -> ModelInfo:
    largest = min(family.largest, _LARGEST_OVER_NATIVE * found.native)
    words = [describe_words(path / "tokenizer"), _DEPTH_WORDS if found.extra == "depth" else ""]
    try:
        return ModelInfo(
            name=name,
            family=family.name,
            native=found.native,
            multiple=family.multiple,
            largest=max(found.native, largest),
            actions=family.actions,
            controls=controls,
            samplers=tuple(SAMPLERS),
            sampler=family.sampler,
            steps=family.steps,
            guidance=family.guidance,
            words=" ".join(word for word in words if word),
        )
    except LocalError as error:
        raise ModelError("unsupported", error.message) from error


def _refuse_file(path: Path) -> None:
    if path.suffix.lower() in PICKLES:
        raise ModelError(
            "unsupported",
            "it is a pickle, which can run code and is never loaded: turn it into safetensors "
            "with `velatura convert`.",
        )


def _refuse_folder(path: Path) -> None:
    pickle = find_pickle(path)
    if pickle:
        raise ModelError(
            "unsupported",
            f"{pickle!r:.100} is a pickle, which can run code and is never loaded: turn it into "
            "safetensors with `velatura convert`.",
        )
    if any(p.suffix.lower() == ".safetensors" for p in path.iterdir()):
        raise ModelError(
            "unsupported", "it has no model_index.json; put a whole diffusers folder here."
        )


def _leaves(path: Path, root: Path) -> bool:
    """Whether ``path``, or a link in it down to its parts' files, leads out of ``root``."""
    # realpath, because Path.resolve raises for a link to itself.
    inside = os.path.realpath(root)
    links = [p for p in (path, *path.glob("*"), *path.glob("*/*")) if p.is_symlink()]
    return not all(Path(os.path.realpath(p)).is_relative_to(inside) for p in (path, *links))


def _stamps(folder: Path, depth: int) -> Iterator[tuple[str, int, int]]:
    """(path, size, time) of what a model is made of, ``depth`` folders deep."""
    try:
        with os.scandir(folder) as entries:
            children = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for child in children:
        try:
            status, is_folder = child.stat(), child.is_dir()
        except OSError:
            continue
        if is_folder:
            yield child.path, 0, 0
            if depth > 1:
                yield from _stamps(Path(child.path), depth - 1)
        elif Path(child.name).suffix.lower() in {".json", ".safetensors", *PICKLES}:
            yield child.path, status.st_size, status.st_mtime_ns


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except ModelError as error:
        message = f"Model {_quote(name)}: {error.message}"
        raise ModelError(error.code, message, field="model") from error


def _quote(name: str) -> str:
    """Any name on one line without control characters, for a sentence."""
    return ascii(name[:200]) if not name.isprintable() else f"'{name[:200]}'"
