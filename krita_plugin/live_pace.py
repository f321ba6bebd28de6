"""How live is doing, in words. No clock of its own: times are seconds of any steady one."""

from __future__ import annotations

from collections import deque

from .ui.words import tr

# Pictures a second are counted over so many seconds.
_COUNTED = 3.0


class LivePace:
    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self._loading = False

    def begin(self) -> None:
        """Another canvas."""
        self._times.clear()
        self._loading = False

    def stage(self, stage: str) -> None:
        """What the server says that it does."""
        self._loading = stage == "loading"

    def picture(self, now: float) -> None:
        """One came."""
        self._times.append(now)
        self._loading = False

    def words(self, sentence: str, busy: bool, now: float) -> str:
        """sentence: why nothing is painted, or "". busy: a picture is being painted."""
        while self._times and self._times[0] < now - _COUNTED:
            self._times.popleft()
        if sentence:
            return tr(sentence)
        if self._loading:
            return tr("Loading the model")
        if len(self._times) > 1:
            rate = (len(self._times) - 1) / max(0.001, self._times[-1] - self._times[0])
            return tr("{rate} pictures a second", rate=f"{rate:.1f}")
        return tr("Painting") if busy else tr("Follows the brush")
