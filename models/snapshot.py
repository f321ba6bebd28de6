"""What one look at the models on disk found: frozen, so that nothing changes in the middle of a job."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from velatura.models.addon_names import AddOns
from velatura.models.control_nets import Net, load_net
from velatura.models.detect import Weight, weigh
from velatura.models.errors import ModelError
from velatura.models.families.base import Family, Found, Loaded, ReportProgress
from velatura.models.families.single import CONFIGS
from velatura.models.items import Item, stamps_in
from velatura.models.places import ANNOTATOR, Place
from velatura.models.weights import Digests, files_of, read_json, stamp_of
from velatura.protocol.messages import ModelInfo
from velatura.protocol.sentences import Sentence

if TYPE_CHECKING:
    import torch

# Of a model's folder: its parts, and the files in them.
DEEP = 2
_CONTROL_FOLDER = "controlnet"
_MOST_NAMED = 20


@dataclass(frozen=True)
class Unusable:
    """Something in a models folder that cannot paint, and one sentence that says why."""

    name: str
    path: Path
    reason: str


@dataclass(frozen=True)
class Entry:
    """One model on disk. Its ``name`` is a key, never a path.

    unet      the sub-folder of its UNet, where it is a folder
    controls  the ControlNets that fit it, by the kinds that they serve
    stamp     stays the same while its files do
    """

    name: str
    path: Path
    unet: str
    family: Family
    found: Found
    controls: Mapping[str, Net]
    info: ModelInfo
    stamp: Hashable
    digests: Digests = field(repr=False, compare=False)

    @property
    def extra(self) -> str:
        """What the UNet takes beside the latents, as in Found."""
        return self.found.extra

    @property
    def text_width(self) -> int:
        """Width of the text embeddings: what its add-ons fit."""
        return self.found.shape[-1]

    @property
    def changed(self) -> bool:
        """Whether its files are others than those that were seen."""
        try:
            return stamp_at(self.path, self.unet) != self.stamp
        except OSError:
            return True

    @cached_property
    def weight(self) -> Weight:
        """How large it is, from the headers of its files. Raises ModelError as ``load`` does."""
        with naming(self.name):
            return weigh(self.path, self.found)

    @property
    def prediction(self) -> str:
        """What the UNet predicts: ``epsilon``, ``v_prediction``, ..."""
        config = self.path / "scheduler" / "scheduler_config.json"
        said = read_json(config) if config.is_file() else {}
        return str({**said, **self.found.schedule}.get("prediction_type", "epsilon"))

    def digest(self) -> str:
        """Compute the digest that a Loaded of it has; reads all of its files. Raises ModelError."""
        return self.digests.of(self.weight.files)

    def load(
        self, device: torch.device | str, dtype: torch.dtype, progress: ReportProgress
    ) -> Loaded:
        """Load the model. ``progress`` gets a part 0..1 and what is being done.

        Its digest is computed afterwards and waited for where it is asked for. Raises ModelError:
        ``missing_weights`` or ``unsupported`` with the reason; out of memory passes through as
        torch's own error. Nothing stays loaded then.
        """
        import torch

        with naming(self.name):
            files = [file for part in self.found.parts for file in files_of(self.path / part)]
            loaded = self.family.load(
                self.name, self.path, self.found, torch.device(device), dtype, progress
            )
            # Not beside the loading: both want the disk and the memory's bandwidth.
            return replace(loaded, find_digest=self.digests.later(files or [self.path]))

    def control(self, kind: str) -> Net:
        """The ControlNet that serves ``kind``. Raises ModelError (``missing_weights``)."""
        if kind not in self.controls:
            raise ModelError(
                "missing_weights",
                Sentence(
                    "Model {model} has no ControlNet for {kind} (it has: {there}); put one for "
                    "{family} into {folder}/ in your models folder, with {kind} in its name.",
                    model=quote(self.name),
                    kind=kind,
                    there=", ".join(self.controls) or "none",
                    family=self.family.name,
                    folder=_CONTROL_FOLDER,
                ),
                field="controls",
            )
        return self.controls[kind]

    def load_control(
        self, kind: str, device: torch.device | str, dtype: torch.dtype
    ) -> torch.nn.Module:
        """Load the ControlNet that serves ``kind``; a union serves many kinds.

        Raises ModelError as ``control``, and ``unsupported`` when its files are broken.
        """
        import torch

        part = next((part for part in self.found.parts if part.startswith("unet")), "unet")
        config = self.path if self.path.is_dir() else CONFIGS / self.family.name
        net = self.control(kind)
        with naming(self.name):
            unet = read_json(config / part / "config.json")
            return load_net(net, unet, torch.device(device), dtype)


@dataclass(frozen=True)
class Snapshot:
    """All that one look found.

    entries   the models that can paint by their names, the starter first
    unusable  what lies in the folders but cannot be used
    places    where models were looked for besides the starter, and what each was taken for
    items     everything by names that are unique in its kind, the starter's first; what must not
              be used has its ``reason``
    addons    LoRAs and textual inversions, likewise
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    unusable: tuple[Unusable, ...] = ()
    places: tuple[Place, ...] = ()
    items: tuple[Item, ...] = ()
    addons: AddOns = field(default_factory=AddOns)

    @cached_property
    def models(self) -> tuple[ModelInfo, ...]:
        """What the catalogue says of the models, the starter first."""
        return tuple(entry.info for entry in self.entries.values())

    def entry(self, name: str) -> Entry:
        """The model called ``name``. Raises ModelError: ``unknown_model``, or ``unsupported`` with
        the reason where it lies there but cannot paint."""
        if name in self.entries:
            return self.entries[name]
        if reason := self.why_unusable(name):
            raise ModelError("unsupported", reason, field="model")
        names = ", ".join(list(self.entries)[:_MOST_NAMED]) or "none"
        sentence = Sentence(
            "There is no model {name}; there are: {names}.", name=quote(name), names=names
        )
        raise ModelError("unknown_model", sentence, field="model")

    def why_unusable(self, name: str) -> str:
        """Why what lies there as ``name`` cannot paint; empty where no such thing lies there."""
        return next((other.reason for other in self.unusable if other.name == name), "")

    def of_kind(self, kind: str) -> tuple[Item, ...]:
        """Those of the ``items`` that are of one kind of places.py."""
        return tuple(item for item in self.items if item.kind == kind)

    @cached_property
    def annotators(self) -> Mapping[str, Path]:
        """The trained detectors (see annotators), by the names of their files."""
        items = self.of_kind(ANNOTATOR)
        return {item.name.rpartition("/")[2]: item.path for item in items if not item.reason}


def stamp_at(path: Path, unet: str) -> Hashable:
    """What stays the same while the model at ``path`` does. Raises OSError."""
    if path.is_dir():
        return (path, unet, tuple(stamps_in(path, DEEP)))
    beside = path.with_suffix(".yaml")  # it may say what the model predicts
    return (stamp_of(path), stamp_of(beside) if os.path.isfile(beside) else None)


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Let a ModelError say which model it is about."""
    try:
        yield
    except ModelError as error:
        message = Sentence("Model {name}: {why}", name=quote(name), why=error.message)
        raise ModelError(error.code, message, field="model") from error


def quote(name: str) -> str:
    """Any name on one line without control characters, for a sentence."""
    return ascii(name[:200]) if not name.isprintable() else f"'{name[:200]}'"
