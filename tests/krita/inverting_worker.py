"""A worker process whose engine inverts the colours it is sent: every pixel of the way can be told.

Where a layer lies, and how opaque it is, follows the protocol: inside the selection, inside the
source's outline, over what is empty. The word "vivid" paints a red that few colour spaces have.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "server"))

from instant_worker import InstantEngine
from velatura.protocol import messages as m
from velatura.protocol.pixels import Image
from velatura.server.worker.host.process import main

_INVERTED = bytes(255 - value for value in range(256))
_VIVID = bytes((255, 0, 80, 255))
_EMPTY = bytes([255]) + bytes(255)


class InvertingEngine(InstantEngine):
    def picture(self, request: m.Generate, variant: int) -> Image:
        seen = request.source or request.surroundings
        rgba = bytearray(bytes(seen.data).translate(_INVERTED))
        sent = bytes(seen.data)[3::4]
        if "vivid" in request.prompt:
            rgba = bytearray(_VIVID * (len(rgba) // 4))
        if request.selection is not None:
            rgba[3::4] = request.selection.data
        elif request.keep_outline:
            rgba[3::4] = sent
        elif request.action == "expand":
            rgba[3::4] = sent.translate(_EMPTY)
        else:
            rgba[3::4] = b"\xff" * len(sent)
        return Image(seen.width, seen.height, "rgba8", bytes(rgba))


if __name__ == "__main__":
    main(InvertingEngine)
