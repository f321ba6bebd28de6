"""The models that there are, and those that are in memory."""

from __future__ import annotations

import torch
from velatura.models import library
from velatura.models.devices import precision_for
from velatura.models.families.base import Loaded
from velatura.protocol.messages import Generate, ModelInfo
from velatura.protocol.sentences import Sentence
from velatura.server.worker.errors import JobError
from velatura.server.worker.memory import Shelf
from velatura.server.worker.plan import with_detail
from velatura.server.worker.report import Reporter

# The kind of what stands on the shelf.
MODEL = "model"
_PERCENT = 100


class CheckpointsInMemory:
    """The models of ``models``; those that jobs asked for stand on the ``shelf``."""

    def __init__(
        self, models: library.Library, shelf: Shelf, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._library, self._shelf = models, shelf
        self._device, self._dtype = device, dtype
        self._known: tuple[ModelInfo, ...] = ()
        self._detailed: tuple[ModelInfo, ...] = ()

    def infos(self) -> tuple[ModelInfo, ...]:
        """All of them, with how finely this device paints them."""
        known = self._library.models()
        if self._known is not known:
            self._known = known
            self._detailed = tuple(with_detail(info, self._device.type) for info in known)
        return self._detailed

    def info(self, name: str) -> ModelInfo:
        """Raises JobError (``unknown_model``)."""
        models = {info.name: info for info in self.infos()}
        if name not in models:
            names = ", ".join(models) or "none"
            sentence = Sentence("model must be one of: {names}.", names=names)
            raise JobError("unknown_model", sentence, "model")
        return models[name]

    def info_for(self, request: Generate) -> ModelInfo:
        """Raises JobError for a model that there is not, or that cannot do what is asked for."""
        info = self.info(request.model)
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

    def precision(self, name: str) -> torch.dtype:
        """What the model called ``name`` computes in on this device."""
        numbers = self._library.weight(name).numbers
        return precision_for(self._device.type, self._dtype, numbers)

    def load(self, name: str, report: Reporter) -> Loaded:
        """Raises ModelError as Library.load does, and JobError as the shelf."""
        stamp = self._library.stamp(name)
        for key in tuple(self._shelf):
            # The files were replaced meanwhile.
            if key[:2] == (MODEL, name) and key[2] != stamp:
                self._shelf.drop(key)
        dtype = self.precision(name)

        def tell(part: float, what: str) -> None:
            report.stage(
                "loading",
                step=round(part * _PERCENT),
                steps=_PERCENT,
                note=f"Loading {name}: {what}.",
            )

        loaded: Loaded = self._shelf.get(
            (MODEL, name, stamp),
            lambda: self._library.weight(name).numbers * dtype.itemsize,
            f"Model {name}",
            lambda: self._library.load(name, self._device, dtype, tell),
        )
        return loaded

    def loaded(self) -> tuple[str, ...]:
        """Names of those in memory."""
        return tuple(key[1] for key in self._shelf if key[0] == MODEL)
