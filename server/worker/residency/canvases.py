"""Keep what paints each live canvas for as long as what it holds is in memory."""

from __future__ import annotations

from velatura.protocol.messages import LiveOpen
from velatura.server.worker.live.painter import LivePainter
from velatura.server.worker.residency.shelf import Key

_NOTHING: frozenset[Key] = frozenset()


class Canvases:
    """The painters of the open live canvases, and what each holds of the shelf."""

    def __init__(self) -> None:
        self._painters: dict[str, tuple[LivePainter, frozenset[Key]]] = {}

    def find(self, settings: LiveOpen) -> tuple[LivePainter | None, frozenset[Key]]:
        """Find the painter at work under these very settings, and what it holds."""
        painter, held = self._painters.get(settings.job, (None, _NOTHING))
        return (painter, held) if painter and painter.settings == settings else (None, _NOTHING)

    def keep(self, painter: LivePainter, held: frozenset[Key]) -> None:
        """Keep a painter that holds ``held`` of the shelf."""
        self._painters[painter.settings.job] = painter, held

    def close(self, job: str) -> None:
        """Forget one canvas, if it is there."""
        self._painters.pop(job, None)

    def forget(self, key: Key) -> None:
        """Forget the canvases that hold ``key``: they begin anew."""
        for job, (_, held) in tuple(self._painters.items()):
            if key in held:
                del self._painters[job]

    def forget_model(self, name: str) -> None:
        """Forget the canvases that the model called ``name`` paints: they begin anew."""
        for job, (painter, _) in tuple(self._painters.items()):
            if painter.settings.model == name:
                del self._painters[job]

    def clear(self) -> None:
        """Forget all canvases."""
        self._painters.clear()
