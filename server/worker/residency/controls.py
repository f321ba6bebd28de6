"""ControlNets, and the control maps that they are shown: kept between jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from velatura.models.annotators import Draw, find_annotator, load_annotator
from velatura.models.snapshot import Entry
from velatura.models.weights import files_of, read_header, stamp_of
from velatura.server.worker.job.control import control_map
from velatura.server.worker.report import Reporter
from velatura.server.worker.residency.lru import Lru
from velatura.server.worker.residency.shelf import Shelf

# Kinds of what stands on the shelf. No model owns them: those of one shape share their ControlNets.
NET, ANNOTATOR = "ControlNet", "annotator"
_ANY_MODEL = ""
_MAPS_KEPT = 16


class ControlsInMemory:
    """ControlNets and annotators on the ``shelf``, and the last maps."""

    def __init__(self, shelf: Shelf, device: torch.device) -> None:
        self._shelf, self._device = shelf, device
        self._maps = Lru(_MAPS_KEPT)

    def net(self, entry: Entry, kind: str, dtype: torch.dtype, report: Reporter) -> torch.nn.Module:
        """The ControlNet that serves ``kind`` for a model; several kinds may share one.

        Raises ModelError as Entry.load_control does, and JobError as the shelf.
        """
        files = files_of(entry.control(kind).path)

        def load() -> torch.nn.Module:
            report.stage("loading", note=f"Loading the ControlNet for {kind}.")
            return entry.load_control(kind, self._device, dtype)

        return self._get(NET, kind, files, dtype, load)

    def map(
        self,
        annotators: Mapping[str, Path],
        kind: str,
        picture: np.ndarray,
        derived: bool,
        check: Callable[[], None] = lambda: None,
    ) -> np.ndarray:
        """What control_map makes of ``picture``, by the trained ``annotators`` where it is derived."""
        there = annotators if derived else {}
        one = find_annotator(kind, there)
        files = [file for path in one.paths(there) for file in files_of(path)] if one else []
        stamps = tuple(map(stamp_of, files))

        def make() -> np.ndarray:
            annotate: Draw | None = None
            if one is not None:
                annotate = self._get(
                    ANNOTATOR,
                    kind,
                    files,
                    torch.float32,
                    lambda: load_annotator(one, there, self._device),
                )
            return control_map(kind, picture, derived=derived, annotate=annotate, check=check)

        content = hashlib.sha256(picture.tobytes()).digest()
        drawn: np.ndarray = self._maps.get((kind, derived, stamps, picture.shape, content), make)
        return drawn

    def _get(
        self,
        what: str,
        kind: str,
        files: Sequence[Path],
        dtype: torch.dtype,
        load: Callable[[], Any],
    ) -> Any:
        return self._shelf.get(
            (what, _ANY_MODEL, *map(stamp_of, files), dtype),
            lambda: sum(read_header(file).numbers for file in files) * dtype.itemsize,
            f"The {what} for {kind}",
            load,
            "controls",
        )
