"""What is on disk. A model's name is a key in this library, never a path.

Listing reads config files and headers only and imports no torch, so that a command line can list
at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from velatura.models.addons import AddOnReader
from velatura.models.control_nets import Net, find_net, nets_beside, serve
from velatura.models.detect import DEPTH_UNET, describe, detect
from velatura.models.errors import ModelError
from velatura.models.families.base import Family, Found, Loaded, ReportProgress
from velatura.models.families.registry import families
from velatura.models.guard import reading
from velatura.models.items import SINGLE, Item, leads_out, list_items, stamps, stamps_in
from velatura.models.places import CHECKPOINT, CONTROLNET, EMBEDDING, LORA, Place, find_places
from velatura.models.snapshot import DEEP, Entry, Snapshot, Unusable, quote, stamp_at
from velatura.models.weights import Digests
from velatura.protocol.messages import ModelInfo
from velatura.protocol.sentences import Sentence

if TYPE_CHECKING:
    import torch

# As many as the catalogue can name.
_MOST_MODELS = 4096
_TOO_MANY = f"there are {_MOST_MODELS} models already: take some folders out."
STARTER = Path(__file__).parent / "starter"
_STARTER_LORA = "lora-"


class Library:
    """Looks at the starter, and at the models in ``folders`` (see places for what may lie there).

    ``folders`` may be a function: what it gives now is what is listed now. A sub-folder
    ``unet-depth`` beside a model's ``unet`` makes a second model, "<name> depth". ControlNets are
    read from ``controlnet-<net>`` beside a model's own sub-folders and from
    ``controlnet/<family>/<net>`` in each folder of ours. Not thread-safe.

    Whoever asks more than one question holds a ``snapshot``; the other methods take one each.
    """

    def __init__(
        self, folders: Sequence[Path] | Callable[[], Sequence[Path]], starter: Path = STARTER
    ) -> None:
        self._find_folders = folders if callable(folders) else lambda: folders
        self._starter = starter
        self._last: Snapshot | None = None
        self._stamps: object = None
        self._times: Mapping[str, int] = {}
        self._named: Sequence[Path] = ()
        self._addon_reader = AddOnReader()
        self._detected: dict[Hashable, tuple[Family, Found] | ModelError] = {}
        self._nets_found: dict[Hashable, Net | ModelError] = {}
        self._digests = Digests()

    def snapshot(self) -> Snapshot:
        """Look at every file; the same object while nothing has changed on disk."""
        named, unread = self._name_folders()
        places = (*unread, *(place for folder in named for place in _places(folder)))
        seen = [tuple(stamps_in(self._starter, DEEP)), *(stamps(place) for place in places)]
        self._named, self._times = named, _times(_folders(named, places, seen))
        if self._last is None or self._stamps != (places, seen):
            self._last, self._stamps = self._read_all(places), (places, seen)
        return self._last

    def latest(self) -> Snapshot:
        """The last snapshot; a new one only where a folder has gained, lost or renamed something.

        It costs a look at the folders, not at what is in them: a file that was written over in its
        place is seen by the next ``snapshot``, or by its Entry's ``changed``.
        """
        if self._last is None or self._name_folders()[0] != self._named:
            return self.snapshot()
        return self._last if _times(self._times) == self._times else self.snapshot()

    def models(self) -> tuple[ModelInfo, ...]:
        """What can paint now, the starter first; the same tuple while nothing changes on disk."""
        return self.snapshot().models

    def unusable(self) -> tuple[Unusable, ...]:
        """What lies in the folders but cannot be used."""
        return self.snapshot().unusable

    def load(
        self, name: str, device: torch.device | str, dtype: torch.dtype, progress: ReportProgress
    ) -> Loaded:
        """Load the model called ``name``, as Entry.load does. Raises also ``unknown_model``."""
        return self.snapshot().entry(name).load(device, dtype, progress)

    def load_control(
        self, model: str, kind: str, device: torch.device | str, dtype: torch.dtype
    ) -> torch.nn.Module:
        """Load a ControlNet, as Entry.load_control does. Raises also ``unknown_model``."""
        return self.snapshot().entry(model).load_control(kind, device, dtype)

    def prediction(self, name: str) -> str:
        """What the UNet of the model called ``name`` predicts. Raises ``unknown_model``."""
        return self.snapshot().entry(name).prediction

    def _name_folders(self) -> tuple[tuple[Path, ...], tuple[Place, ...]]:
        """(the folders, a place with its reason where their list cannot be read)."""
        try:
            with reading():
                return tuple(self._find_folders()), ()
        except ModelError as error:
            reason = f"The list of models folders: {error.message}"
            return (), (Place("folders", self._starter, reason=reason),)

    def _read_all(self, places: Sequence[Place]) -> Snapshot:
        roots = [folder.root for place in places for folder in place.folders]
        roots += [place.path for place in places if place.flat or place.hub]
        found = [*self._of_starter()]
        found += [item for place in places for item in list_items(place, roots)]
        items = tuple(map(self._judge_net, _uniquely_named(found)))
        nets = [item for item in items if item.kind == CONTROLNET]
        entries: dict[str, Entry] = {}
        unusable = [Unusable(p.label, p.path, p.reason) for p in places if p.reason]
        for item, name, unet in _models_in(items):
            try:
                with reading():
                    if item.reason:
                        raise ModelError("unsupported", item.reason)
                    if len(entries) == _MOST_MODELS:
                        raise ModelError("unsupported", _TOO_MANY)
                    entries[name] = self._read(name, item, unet, places, nets)
            except ModelError as error:
                reason = Sentence("Model {name}: {why}", name=quote(name), why=error.message)
                unusable.append(Unusable(name, item.path, reason))
        unusable += [
            Unusable(item.name, item.path, f"ControlNet {quote(item.name)}: {item.reason}")
            for item in nets
            if item.reason
        ]
        unusable += [Unusable("family", self._starter, reason) for reason in families().refused]
        addons = self._addon_reader.read(item for item in items if item.kind in (LORA, EMBEDDING))
        return Snapshot(entries, tuple(unusable), tuple(places), items, addons)

    def _of_starter(self) -> Iterator[Item]:
        folder = self._starter
        if os.path.isdir(folder):
            yield Item(CHECKPOINT, folder.name, folder, "Velatura", folder)
            for path in sorted(folder.glob(f"{_STARTER_LORA}*{SINGLE}")):
                name = path.stem.removeprefix(_STARTER_LORA)
                yield Item(LORA, name, path, "Velatura", folder)

    def _read(
        self, name: str, item: Item, unet: str, places: Sequence[Place], nets: Sequence[Item]
    ) -> Entry:
        path = item.path
        stamp = stamp_at(path, unet)
        family, found = self._detect(path, unet, stamp)
        controls: Mapping[str, Net] = {}
        kinds: tuple[str, ...] = ("depth",)
        # A depth model's guide goes into the UNet itself.
        if found.extra != "depth":
            controls = serve(self._nets(path, places, nets), found.shape)
            kinds = tuple(controls)
        info = describe(name, path, family, found, kinds)
        return Entry(name, path, unet, family, found, controls, info, stamp, self._digests)

    def _nets(self, model: Path, places: Sequence[Place], nets: Sequence[Item]) -> Iterator[Net]:
        """The ControlNets beside a model, and those in the folders for them."""
        roots = [model, *(place.path for place in places)]
        beside = [(kind, path) for kind, path in nets_beside(model) if not leads_out(path, roots)]
        items = [(item.name, item.path) for item in nets if not item.reason]
        for name, path in (*beside, *items):
            net = self._net(path, name)
            if isinstance(net, Net):
                yield net

    def _judge_net(self, item: Item) -> Item:
        """The same with the reason why it cannot be used, where it is a ControlNet and cannot."""
        if item.kind != CONTROLNET or item.reason:
            return item
        net = self._net(item.path, item.name)
        return replace(item, reason=net.message) if isinstance(net, ModelError) else item

    def _net(self, path: Path, name: str) -> Net | ModelError:
        """Headers are large: each is read once for as long as its file stays the same."""
        stamp: Hashable = None
        try:
            with reading():
                stamp = (name, stamp_at(path, ""))
                if stamp not in self._nets_found:
                    self._nets_found[stamp] = find_net(path, name)
                return self._nets_found[stamp]
        except ModelError as error:
            if stamp is not None:
                self._nets_found[stamp] = error
            return error

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


def _places(folder: Path) -> tuple[Place, ...]:
    try:
        with reading():
            return find_places(folder)
    except ModelError as error:
        label = ascii(folder.name)[1:-1][:100] or "models"
        return (Place(label, folder, reason=f"Folder {quote(folder.name)}: {error.message}"),)


def _folders(
    named: Iterable[Path],
    places: Iterable[Place],
    seen: Iterable[Iterable[tuple[str, int, int, int]]],
) -> Iterator[str]:
    """Every folder in which something may appear, and the files that say where to look."""
    yield from map(str, named)
    for place in places:
        yield str(place.path)
        yield from (str(folder.path) for folder in place.folders)
        if place.hub:
            yield from (str(path) for path in place.path.glob("models--*/*"))
    for stamped in seen:
        yield from (path for path, size, *_ in stamped if size < 0)


def _times(folders: Iterable[str]) -> dict[str, int]:
    """When each last changed (ns); -1 for what is not there."""
    times = {}
    for folder in folders:
        try:
            times[folder] = os.stat(folder).st_mtime_ns
        except (OSError, ValueError):
            times[folder] = -1
    return times


def _uniquely_named(items: Sequence[Item]) -> Iterator[Item]:
    """Two of one kind with one name: the second is told apart by its place, or by a number."""
    names: set[tuple[str, str]] = set()
    files: set[tuple[str, object]] = set()
    for item in sorted(items, key=lambda one: bool(one.reason)):
        # Two of the folders that were named overlap, or one links to the other.
        same = (item.kind, _identity(item.path))
        if same in files:
            continue
        files.add(same)
        name, number = item.name, 1
        while (item.kind, name) in names:
            name = f"{item.name} ({item.place}{f' {number}' if number > 1 else ''})"
            number += 1
        names.add((item.kind, name))
        yield replace(item, name=name)


def _identity(path: Path) -> object:
    """What is the same for all paths and links to one file or folder."""
    try:
        status = os.stat(path)
    except OSError:
        return path
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)


def _models_in(items: Sequence[Item]) -> Iterator[tuple[Item, str, str]]:
    """(item, name of the model, sub-folder of its UNet)."""
    for item in items:
        if item.kind == CHECKPOINT:
            yield item, item.name, "unet"
            if all(os.path.isdir(item.path / name) for name in (DEPTH_UNET, "unet")):
                yield item, f"{item.name} depth", DEPTH_UNET
