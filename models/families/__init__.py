"""The model families: one file each, registered here, asked in this order."""

from __future__ import annotations

from velatura.models.families.base import Family
from velatura.models.families.sd2 import SD2
from velatura.models.families.sd15 import SD15
from velatura.models.families.sdxl import SDXL

FAMILIES: tuple[Family, ...] = (SD15, SD2, SDXL)
