"""ControlNets on disk, and which kinds of control each one serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from velatura.models.errors import ModelError
from velatura.models.weights import find_weights, read_json
from velatura.protocol.messages import CONTROL_KINDS

# Folder name of a net -> the kinds it serves, its own first. A net trained on lines of varied
# quality follows edges and rough strokes too.
NETS: dict[str, tuple[str, ...]] = {kind: (kind,) for kind in CONTROL_KINDS} | {
    "line": ("line", "canny", "scribble")
}
_PREFIX = "controlnet-"


def nets_beside(model: Path) -> Iterator[tuple[str, Path]]:
    """(net, folder) of the folders ``controlnet-<net>`` in a model's own folder."""
    for net in NETS:
        yield net, model / f"{_PREFIX}{net}"


def nets_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """(net, folder) of the folders ``<net>`` in ``folder``."""
    for net in NETS:
        yield net, folder / net


def serve(nets: list[tuple[str, Path]], shape: tuple[int, ...]) -> dict[str, Path]:
    """Kind -> folder of the net that serves it best, in the order of CONTROL_KINDS.

    ``nets``: (net, folder), preferred first; those that are absent, have no weights that may be
    loaded, or were made for a UNet of another ``shape`` are passed over.
    """
    fitting = [(net, folder) for net, folder in nets if _fits(folder, shape)]
    served: dict[str, Path] = {}
    for kind in CONTROL_KINDS:
        # A net of the kind itself before one that serves it beside its own.
        for _, folder in sorted(
            (item for item in fitting if kind in NETS[item[0]]),
            key=lambda item: NETS[item[0]].index(kind) > 0,
        ):
            served.setdefault(kind, folder)
    return served


def _fits(folder: Path, shape: tuple[int, ...]) -> bool:
    if not (folder / "config.json").is_file():
        return False
    try:
        config = read_json(folder / "config.json")
        find_weights(folder)
    except ModelError:
        return False
    channels = config.get("block_out_channels")
    return (
        config.get("_class_name") == "ControlNetModel"
        and isinstance(channels, list)
        and (*channels, config.get("cross_attention_dim")) == shape
    )
