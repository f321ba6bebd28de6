"""Live painting by parts, for models with a UNet."""

from __future__ import annotations

from velatura.models.families.base import Loaded
from velatura.models.families.unet.loaded import UNetLoaded
from velatura.server.worker.live.unet.model import UNetNetwork
from velatura.server.worker.runtime.registry import Accelerations


def make_network(loaded: Loaded, accelerations: Accelerations) -> UNetNetwork | None:
    """Make what paints live with ``loaded``; None where it has no UNet."""
    return UNetNetwork(loaded, accelerations) if isinstance(loaded, UNetLoaded) else None
