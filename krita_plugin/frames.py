"""Animation: the frames that show the drawing seen now, and layers that are there on these alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .images import png_bytes, rgba_image
from .nodes import DocumentError, stack
from .qt import QtCore


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


def empty_layer(bench: Any, frames: Frames) -> Any:
    """A new layer on top of ``bench`` (a clone, which then shows ``frames.first``), to be painted on
    these frames and empty on the others.

    Krita's API makes keyframes by importing files only.
    """
    folder = QtCore.QTemporaryDir()
    blank = folder.filePath("blank.png")
    with open(blank, "wb") as file:
        file.write(png_bytes(rgba_image(bytes(4), 1, 1)))
    count, step = (1, 1) if frames.end is None else (2, frames.end - frames.first)
    if not bench.importAnimation([blank] * count, frames.first, step):
        raise DocumentError("Krita could not make an animated layer: check its temporary folder.")
    bench.setCurrentTime(frames.first)
    bench.waitForDone()
    return bench.topLevelNodes()[-1]
