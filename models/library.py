"""What is on disk. A model's name is a key in this library, never a path.

Listing reads config files and headers only and imports no torch, so that a command line can list
at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from velatura.models.addon_names import AddOns
from velatura.models.addons import AddOnReader
from velatura.models.control_nets import Net, find_net, load_net, nets_beside, serve
from velatura.models.detect import DEPTH_UNET, Weight, describe, detect, weigh
from velatura.models.errors import ModelError
from velatura.models.families.base import Family, Found, Loaded, ReportProgress
from velatura.models.families.single import CONFIGS
from velatura.models.items import SINGLE, Item, leads_out, list_items, stamps, stamps_in
from velatura.models.places import (
    ANNOTATOR,
    CHECKPOINT,
    CONTROLNET,
    EMBEDDING,
    LORA,
    Place,
    find_places,
)
from velatura.models.weights import Digests, find_weights, read_json
from velatura.protocol.messages import ModelInfo
from velatura.protocol.sentences import Sentence

if TYPE_CHECKING:
    import torch

STARTER = Path(__file__).parent / "starter"
_CONTROL_FOLDER = "controlnet"
_STARTER_LORA = "lora-"
_STARTER_DEPTH = 2


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
    controls: Mapping[str, Net]
    info: ModelInfo
    stamp: Hashable


class Library:
    """The starter, and the models in ``folders`` (see places for what may lie there).

    ``folders`` may be a function: what it gives now is what is listed now. A sub-folder
    ``unet-depth`` beside a model's ``unet`` makes a second model, "<name> depth". ControlNets are
    read from ``controlnet-<net>`` beside a model's own sub-folders and from
    ``controlnet/<family>/<net>`` in each folder of ours. Not thread-safe.
    """

    def __init__(
        self, folders: Sequence[Path] | Callable[[], Sequence[Path]], starter: Path = STARTER
    ) -> None:
        self._find_folders = folders if callable(folders) else lambda: folders
        self._starter = starter
        self._stamps: object = None
        self._places: tuple[Place, ...] = ()
        self._items: tuple[Item, ...] = ()
        self._entries: dict[str, _Entry] = {}
        self._unusable: tuple[Unusable, ...] = ()
        self._infos: tuple[ModelInfo, ...] = ()
        self._addons = AddOns()
        self._addon_reader = AddOnReader()
        self._detected: dict[Hashable, tuple[Family, Found] | ModelError] = {}
        self._nets_found: dict[Hashable, Net | ModelError | None] = {}
        self._weights: dict[Hashable, Weight] = {}
        self._digests = Digests()
        self._digesting = ThreadPoolExecutor(1, "digest")

    def models(self) -> tuple[ModelInfo, ...]:
        """What can paint now, the starter first; the same tuple while nothing changes on disk."""
        self._scan()
        return self._infos

    def unusable(self) -> tuple[Unusable, ...]:
        """What lies in the folders but cannot paint."""
        self._scan()
        return self._unusable

    def places(self) -> tuple[Place, ...]:
        """Where models are looked for besides the starter, and what each was taken for."""
        self._scan()
        return self._places

    def items(self, kind: str) -> tuple[Item, ...]:
        """Everything of one kind of places.py, the starter's first, by names that are unique.

        What must not be used is there too, with its ``reason``.
        """
        self._scan()
        return tuple(item for item in self._items if item.kind == kind)

    def addons(self) -> AddOns:
        """LoRAs and textual inversions; the same tuple while nothing changes on disk."""
        self._scan()
        return self._addons

    def text_width(self, name: str) -> int:
        """Width of the text embeddings of the model called ``name``: what its add-ons fit.

        Raises ModelError (``unknown_model``).
        """
        return self._entry(name).found.shape[-1]

    def load(
        self, name: str, device: torch.device | str, dtype: torch.dtype, progress: ReportProgress
    ) -> Loaded:
        """Load the model called ``name``. ``progress`` gets a part 0..1 and what is being done.

        Its digest is computed afterwards and waited for where it is asked for. Raises ModelError:
        ``unknown_model``, or ``missing_weights`` or ``unsupported`` with the reason; out of memory
        passes through as torch's own error. Nothing stays loaded then.
        """
        import torch

        entry = self._entry(name)
        with _naming(name):
            parts = entry.found.parts
            files = [f for part in parts for f in find_weights(entry.path / part).files]
            loaded = entry.family.load(
                name, entry.path, entry.found, torch.device(device), dtype, progress
            )
            # Not beside the loading: both want the disk and the memory's bandwidth.
            digest = self._digesting.submit(self._digests.of, files or [entry.path])
            return replace(loaded, find_digest=digest.result)

    def extra(self, name: str) -> str:
        """What the UNet of the model called ``name`` takes beside the latents, as in Found.

        Raises ModelError (``unknown_model``).
        """
        return self._entry(name).found.extra

    def folder(self, name: str) -> Path:
        """Where the model called ``name`` lies. Raises ModelError (``unknown_model``)."""
        return self._entry(name).path

    def stamp(self, name: str) -> Hashable:
        """What stays the same while the files of the model called ``name`` do.

        Raises ModelError (``unknown_model``).
        """
        return self._entry(name).stamp

    def weight(self, name: str) -> Weight:
        """How large the model called ``name`` is. Raises ModelError as ``load`` does."""
        entry = self._entry(name)
        if entry.stamp not in self._weights:
            with _naming(name):
                self._weights[entry.stamp] = weigh(entry.path, entry.found)
        return self._weights[entry.stamp]

    def prediction(self, name: str) -> str:
        """What the UNet of the model called ``name`` predicts: ``epsilon``, ``v_prediction``, ...

        Raises ModelError (``unknown_model``).
        """
        entry = self._entry(name)
        config = entry.path / "scheduler" / "scheduler_config.json"
        said = read_json(config) if config.is_file() else {}
        return str({**said, **entry.found.schedule}.get("prediction_type", "epsilon"))

    def digest(self, name: str) -> str:
        """The digest that a Loaded of it has; reads all of its files. Raises ModelError."""
        return self._digests.of(self.weight(name).files)

    def load_control(
        self, model: str, kind: str, device: torch.device | str, dtype: torch.dtype
    ) -> torch.nn.Module:
        """Load the ControlNet that serves ``kind`` for ``model``; a union serves many kinds.

        Raises ModelError: ``unknown_model``, ``missing_weights`` when the model has none for that
        kind, ``unsupported`` when its files are broken.
        """
        entry, net = self._entry(model), self.control(model, kind)
        import torch

        part = next((part for part in entry.found.parts if part.startswith("unet")), "unet")
        config = entry.path if entry.path.is_dir() else CONFIGS / entry.family.name
        with _naming(model):
            unet = read_json(config / part / "config.json")
            return load_net(net, unet, torch.device(device), dtype)

    def annotators(self) -> dict[str, Path]:
        """The trained detectors on disk (see annotators), by the names of their files."""
        items = self.items(ANNOTATOR)
        return {item.name.rpartition("/")[2]: item.path for item in items if not item.reason}

    def control(self, model: str, kind: str) -> Net:
        """The ControlNet that serves ``kind`` for ``model``. Raises ModelError as above."""
        entry = self._entry(model)
        if kind not in entry.controls:
            there = ", ".join(entry.controls) or "none"
            raise ModelError(
                "missing_weights",
                Sentence(
                    "Model {model} has no ControlNet for {kind} (it has: {there}); put one for "
                    "{family} into {folder}/ in your models folder, with {kind} in its name.",
                    model=_quote(model),
                    kind=kind,
                    there=there,
                    family=entry.family.name,
                    folder=_CONTROL_FOLDER,
                ),
                field="controls",
            )
        return entry.controls[kind]

    def _entry(self, name: str) -> _Entry:
        self._scan()
        if name in self._entries:
            return self._entries[name]
        for other in self._unusable:
            if other.name == name:
                raise ModelError("unsupported", other.reason, field="model")
        names = ", ".join(list(self._entries)[:20]) or "none"
        sentence = Sentence(
            "There is no model {name}; there are: {names}.", name=_quote(name), names=names
        )
        raise ModelError("unknown_model", sentence, field="model")

    def _scan(self) -> None:
        places = [place for folder in self._find_folders() for place in find_places(folder)]
        now = (places, [tuple(stamps_in(self._starter, _STARTER_DEPTH)), *map(stamps, places)])
        if now == self._stamps:
            return
        self._places = tuple(places)
        roots = [folder.root for place in places for folder in place.folders]
        roots += [place.path for place in places if place.flat or place.hub]
        found = [*self._of_starter()]
        found += [item for place in places for item in list_items(place, roots)]
        self._items = tuple(_uniquely_named(found))
        entries: dict[str, _Entry] = {}
        unusable = [Unusable(p.label, p.path, p.reason) for p in places if p.reason]
        for item, name, unet in _models_in(self._items):
            try:
                if item.reason:
                    raise ModelError("unsupported", item.reason)
                entries[name] = self._read(name, item, unet)
            except (ModelError, OSError) as error:
                why = error.message if isinstance(error, ModelError) else "it cannot be read."
                unusable.append(Unusable(name, item.path, f"Model {_quote(name)}: {why}"))
        unusable += self._unusable_nets()
        self._entries, self._unusable, self._stamps = entries, tuple(unusable), now
        self._infos = tuple(entry.info for entry in entries.values())
        self._addons = self._addon_reader.read(
            item for item in self._items if item.kind in (LORA, EMBEDDING)
        )

    def _of_starter(self) -> Iterator[Item]:
        folder = self._starter
        if folder.is_dir():
            yield Item(CHECKPOINT, folder.name, folder, "Velatura", folder)
            for path in sorted(folder.glob(f"{_STARTER_LORA}*{SINGLE}")):
                name = path.stem.removeprefix(_STARTER_LORA)
                yield Item(LORA, name, path, "Velatura", folder)

    def _read(self, name: str, item: Item, unet: str) -> _Entry:
        path = item.path
        status = path.stat()
        stamp: Hashable = (path, status.st_size, status.st_mtime_ns)
        if path.is_dir():
            stamp = (path, unet, tuple(stamps_in(path, _STARTER_DEPTH)))
        family, found = self._detect(path, unet, stamp)
        if found.extra == "depth":
            # Its guide goes into the UNet itself.
            info = describe(name, path, family, found, ("depth",))
            return _Entry(path, family, found, {}, info, stamp)
        controls = serve(self._nets(path), found.shape)
        info = describe(name, path, family, found, tuple(controls))
        return _Entry(path, family, found, controls, info, stamp)

    def _nets(self, model: Path) -> Iterator[Net]:
        """The ControlNets beside a model, and those in the folders for them."""
        roots = [model, *(place.path for place in self._places)]
        beside = [(kind, path) for kind, path in nets_beside(model) if not leads_out(path, roots)]
        items = [
            (item.name, item.path)
            for item in self._items
            if item.kind == CONTROLNET and not item.reason
        ]
        for name, path in (*beside, *items):
            net = self._net(path, name)
            if isinstance(net, Net):
                yield net

    def _unusable_nets(self) -> Iterator[Unusable]:
        for item in self._items:
            if item.kind == CONTROLNET:
                net = self._net(item.path, item.name) if not item.reason else None
                reason = net.message if isinstance(net, ModelError) else item.reason
                if reason:
                    why = f"ControlNet {_quote(item.name)}: {reason}"
                    yield Unusable(item.name, item.path, why)

    def _net(self, path: Path, name: str) -> Net | ModelError | None:
        """Headers are large: each is read once for as long as its file stays the same."""
        try:
            status = path.stat()
            inside = tuple(stamps_in(path, 1)) if path.is_dir() else ()
            stamp = (path, status.st_size, status.st_mtime_ns, inside)
            if stamp not in self._nets_found:
                self._nets_found[stamp] = find_net(path, name)
            return self._nets_found[stamp]
        except ModelError as error:
            self._nets_found[stamp] = error
            return error
        except OSError:
            return None

    def _detect(self, path: Path, unet: str, stamp: Hashable) -> tuple[Family, Found]:
        """Headers are large: each is read once for as long as its file stays the same."""
        if stamp not in self._detected:
            try:
                self._detected[stamp] = detect(path, unet)
            except ModelError as error:
                self._detected[stamp] = error
        known = self._detected[stamp]
        if isinstance(known, ModelError):
            raise ModelError(known.code, known.message)
        return known


def _uniquely_named(items: Sequence[Item]) -> Iterator[Item]:
    """Two of one kind with one name: the second is told apart by its place, or by a number."""
    names: set[tuple[str, str]] = set()
    files: set[tuple[str, Path]] = set()
    for item in items:
        if (item.kind, item.path) in files:
            continue  # two of the folders that were named overlap
        files.add((item.kind, item.path))
        name, number = item.name, 1
        while (item.kind, name) in names:
            name = f"{item.name} ({item.place}{f' {number}' if number > 1 else ''})"
            number += 1
        names.add((item.kind, name))
        yield replace(item, name=name)


def _models_in(items: Sequence[Item]) -> Iterator[tuple[Item, str, str]]:
    """(item, name of the model, sub-folder of its UNet)."""
    for item in items:
        if item.kind == CHECKPOINT:
            yield item, item.name, "unet"
            if (item.path / DEPTH_UNET).is_dir() and (item.path / "unet").is_dir():
                yield item, f"{item.name} depth", DEPTH_UNET


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except ModelError as error:
        message = Sentence("Model {name}: {why}", name=_quote(name), why=error.message)
        raise ModelError(error.code, message, field="model") from error


def _quote(name: str) -> str:
    """Any name on one line without control characters, for a sentence."""
    return ascii(name[:200]) if not name.isprintable() else f"'{name[:200]}'"
