"""The labelled contact sheet."""

from __future__ import annotations

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

_TILE, _GAP, _LABEL = 256, 12, 34
_PAPER, _INK, _CHECK = (250, 248, 244), (40, 36, 32), ((225, 225, 225), (205, 205, 205))


def _on_checks(pixels: np.ndarray) -> Picture.Image:
    """A picture with transparency over the usual grey checks."""
    height, width = pixels.shape[:2]
    rows, columns = np.indices((height, width)) // 12
    checks = np.asarray(_CHECK, np.uint8)[(rows + columns) % 2]
    below = Picture.fromarray(checks).convert("RGBA")
    return Picture.alpha_composite(below, Picture.fromarray(pixels)).convert("RGB")


def contact_sheet(rows: list[list[tuple[str, np.ndarray]]]) -> Picture.Image:
    """``rows`` of (label, picture): (H, W), (H, W, 3) or (H, W, 4) uint8, at the same height."""
    tiles = []
    for row in rows:
        line = []
        for label, pixels in row:
            picture = _on_checks(pixels) if pixels.shape[2:] == (4,) else Picture.fromarray(pixels)
            width = round(picture.width * _TILE / picture.height)
            line.append((label, picture.convert("RGB").resize((width, _TILE))))
        tiles.append(line)
    width = max(sum(tile.width + _GAP for _, tile in line) for line in tiles) + _GAP
    sheet = Picture.new("RGB", (width, len(tiles) * (_TILE + _LABEL + _GAP) + _GAP), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    y = _GAP
    for line in tiles:
        x = _GAP
        for label, tile in line:
            draw.text((x, y), label, _INK, font)
            sheet.paste(tile, (x, y + _LABEL - 10))
            x += tile.width + _GAP
        y += _TILE + _LABEL + _GAP
    return sheet
