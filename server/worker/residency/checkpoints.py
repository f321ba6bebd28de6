"""The models that there are, and those that are in memory."""

from __future__ import annotations

import torch
from velatura.models.devices import precision_for
from velatura.models.snapshot import Entry, Snapshot
from velatura.protocol.messages import Generate, ModelInfo
from velatura.protocol.sentences import Sentence
from velatura.server.worker.errors import JobError
from velatura.server.worker.job.plan import with_detail
from velatura.server.worker.report import Reporter
from velatura.server.worker.residency.loaded_model import LoadedModel
from velatura.server.worker.residency.shelf import Shelf
from velatura.server.worker.runtime.registry import Accelerations

# The kind of what stands on the shelf.
MODEL = "model"
_PERCENT = 100


class CheckpointsInMemory:
    """The models that jobs asked for: they stand on the ``shelf``."""

    def __init__(
        self,
        shelf: Shelf,
        device: torch.device,
        dtype: torch.dtype,
        accelerations: Accelerations,
    ) -> None:
        self._accelerations = accelerations
        self._shelf, self._device, self._dtype = shelf, device, dtype
        self._known: tuple[ModelInfo, ...] = ()
        self._detailed: tuple[ModelInfo, ...] = ()

    def infos(self, seen: Snapshot) -> tuple[ModelInfo, ...]:
        """All that there are, with how finely this device paints them."""
        known = seen.models
        if self._known is not known:
            self._known = known
            self._detailed = tuple(with_detail(info, self._device.type) for info in known)
        return self._detailed

    def info(self, seen: Snapshot, name: str) -> ModelInfo:
        """Raises JobError: ``unknown_model``, or ``unsupported`` with the reason where it lies there
        but cannot paint."""
        models = {info.name: info for info in self.infos(seen)}
        if name not in models:
            if reason := seen.why_unusable(name):
                raise JobError("unsupported", reason, "model")
            names = ", ".join(models) or "none"
            sentence = Sentence("model must be one of: {names}.", names=names)
            raise JobError("unknown_model", sentence, "model")
        return models[name]

    def info_for(self, seen: Snapshot, request: Generate) -> ModelInfo:
        """Raises JobError for a model that there is not, or that cannot do what is asked for."""
        info = self.info(seen, request.model)
        for field, allowed in (("action", info.actions), ("sampler", info.samplers)):
            if getattr(request, field) not in allowed:
                sentence = Sentence(
                    "{field} must be one of {allowed} for {model}.",
                    field=field,
                    allowed=", ".join(allowed),
                    model=info.name,
                )
                raise JobError("unsupported", sentence, field)
        return info

    def precision(self, entry: Entry) -> torch.dtype:
        """What the model computes in on this device."""
        return precision_for(self._device.type, self._dtype, entry.weight.numbers)

    def load(self, entry: Entry, report: Reporter) -> LoadedModel:
        """Raises ModelError as Entry.load does, and JobError as the shelf."""
        name = entry.name
        for key in tuple(self._shelf):
            # The files were replaced meanwhile.
            if key[:2] == (MODEL, name) and key[2] != entry.stamp:
                self._shelf.drop(key)
        dtype = self.precision(entry)

        def tell(part: float, what: str) -> None:
            report.stage(
                "loading",
                step=round(part * _PERCENT),
                steps=_PERCENT,
                note=f"Loading {name}: {what}.",
            )

        model: LoadedModel = self._shelf.get(
            (MODEL, name, entry.stamp),
            lambda: entry.weight.numbers * dtype.itemsize,
            f"Model {name}",
            lambda: LoadedModel(entry.load(self._device, dtype, tell), self._accelerations),
        )
        return model

    def loaded(self) -> tuple[str, ...]:
        """Names of those in memory."""
        return tuple(key[1] for key in self._shelf if key[0] == MODEL)
