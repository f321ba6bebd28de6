"""Animation: the frames that show the drawing seen now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .nodes import stack


@dataclass(frozen=True)
class Frames:
    """From ``first`` to before ``end``; None: to the last."""

    first: int
    end: int | None


def frames_of(handle: Any) -> Frames | None:
    """Those on which every visible layer is as it is now; None where all are."""
    animated = [node for node in stack(handle) if node.animated() and node.visible()]
    if not animated:
        return None

    def begins(frame: int) -> bool:
        return any(node.hasKeyframeAtTime(frame) for node in animated)

    now, last = handle.currentTime(), handle.fullClipRangeEndTime()
    first = next((frame for frame in range(now, 0, -1) if begins(frame)), 0)
    end = next((frame for frame in range(now + 1, last + 1) if begins(frame)), None)
    return None if (first, end) == (0, None) else Frames(first, end)
