"""Pictures as they travel: raw rows, top to bottom, no padding."""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import LocalError

# format name -> bytes per pixel. "rgba8": sRGB, straight alpha. "gray8": 0..255, no colour space.
FORMATS: dict[str, int] = {"rgba8": 4, "gray8": 1}
# How a picture's bytes may be packed behind the header: as they are, or one zlib stream each.
ENCODINGS: tuple[str, ...] = ("raw", "zlib")
LARGEST_SIDE = 32768


@dataclass(frozen=True)
class Image:
    """A picture: ``width`` x ``height`` pixels of ``format`` (a key of FORMATS).

    ``data`` holds exactly width * height * FORMATS[format] bytes; bytes or a memoryview of them.
    Two pictures are equal when their pixels are.
    """

    width: int
    height: int
    format: str
    data: bytes | memoryview = field(repr=False)

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise LocalError(
                "invalid_field", "format must be one of " + ", ".join(FORMATS) + ".", field="format"
            )
        for name in ("width", "height"):
            side = getattr(self, name)
            if isinstance(side, bool) or not isinstance(side, int) or not 1 <= side <= LARGEST_SIDE:
                raise LocalError(
                    "invalid_field",
                    f"{name} must be a whole number from 1 to {LARGEST_SIDE}.",
                    field=name,
                )
        size = self.width * self.height * FORMATS[self.format]
        if memoryview(self.data).nbytes != size:
            raise LocalError(
                "malformed",
                f"A {self.width} x {self.height} {self.format} picture has {size} bytes, "
                f"not {memoryview(self.data).nbytes}.",
            )
