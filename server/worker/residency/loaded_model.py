"""Keep a model in memory with all that depends on it: dropping it drops everything."""

from __future__ import annotations

from velatura.models.families.base import Loaded
from velatura.models.families.denoiser import Denoiser, Text
from velatura.server.worker.prompt.encode import embed
from velatura.server.worker.prompt.language import Parsed
from velatura.server.worker.residency.addons import Ready
from velatura.server.worker.residency.lru import Lru
from velatura.server.worker.residency.shelf import bytes_of
from velatura.server.worker.runtime.accelerate import accelerate_job
from velatura.server.worker.runtime.registry import Accelerations
from velatura.server.worker.runtime.warmup import Warmed

_TEXTS_KEPT = 64


class LoadedModel:
    """A model in memory, its encoded prompts and its accelerated passes."""

    def __init__(self, loaded: Loaded, accelerations: Accelerations) -> None:
        self.loaded, self._accelerations = loaded, accelerations
        self._texts = Lru(_TEXTS_KEPT)
        self._was_used = False
        self._accelerated: Denoiser | None = None
        self._warmed: Warmed | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of its weights."""
        return bytes_of(self.loaded)

    def encode(self, parsed: Parsed, skip: int, ready: Ready) -> Text:
        """Encode a prompt, once while it is kept; see ``embed``."""
        text: Text = self._texts.get(
            (parsed.parts, skip, ready.key),
            lambda: embed(parsed, self.loaded, skip=skip, words=ready.words),
        )
        return text

    def denoiser(self) -> Denoiser:
        """Return its denoiser: accelerated from the second time on that it is wanted."""
        if self._accelerated is None and self._was_used and self.loaded.network is not None:
            run = accelerate_job(self.loaded.network, self._accelerations)
            self._warmed = run if isinstance(run, Warmed) else None
            made = self.loaded.family.make_denoiser(self.loaded, run) if run else None
            self._accelerated = made or self.loaded.denoiser
        self._was_used = True
        return self._accelerated or self.loaded.denoiser

    def wait(self) -> None:
        """Wait until what is prepared beside painting is done."""
        if self._warmed is not None:
            self._warmed.wait()

    def close(self) -> None:
        """End what prepares passes beside painting."""
        if self._warmed is not None:
            self._warmed.close()
