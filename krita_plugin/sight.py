"""What holds for a reader of a Krita document: selections, isolation, transparency.

The part of document.py that works on Krita's own handles. A selection mask on a layer or group
limits what is painted on it, not on a group's members; Krita's own ``Document.selection()`` knows
nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from krita import Krita

from .canvas import Limits
from .qt import QtCore

# Its menu entry is enabled while some selection holds in the active view.
_DESELECT = "deselect"
_ISOLATING = ("isolate_active_layer", "isolate_active_group")
# Full alpha, the last channel of every pixel, as its bytes in each of Krita's depths.
_OPAQUE = {"U8": b"\xff", "U16": b"\xff\xff", "F16": b"\x00\x3c", "F32": b"\x00\x00\x80\x3f"}
# How many lines of a layer decide whether it has transparency.
_LINES = 16


@dataclass(frozen=True)
class Holding:
    """The selection that holds for the current layer.

    selection: Krita's, or None. mask: the name of the selection mask that it is, "" for the
    document's own. unclear: the name of a layer with several selection masks, of which Krita does
    not tell which one holds.
    """

    selection: Any = None
    mask: str = ""
    unclear: str = ""


def holding(handle: Any) -> Holding:
    """What limits painting on the active node of a document (its handle)."""
    node = handle.activeNode()
    if node is not None and node.type().endswith("mask"):
        node = node.parentNode()
    is_layer = node is not None and node.parentNode() is not None
    members = node.childNodes() if is_layer else []
    masks = [n for n in members if n.type() == "selectionmask" and n.visible()]
    if not masks or not _may_hold(handle):
        return Holding(handle.selection())
    if len(masks) > 1:
        return Holding(unclear=str(node.name()))
    return Holding(masks[0].selection(), mask=str(masks[0].name()))


def limits(handle: Any) -> Limits:
    """What stands between a document (its handle) and a reader."""
    held = holding(handle)
    found = (Krita.instance().action(name) for name in _ISOLATING)
    isolated = _is_active(handle) and any(a is not None and a.isChecked() for a in found)
    return Limits(held.mask, held.unclear, isolated)


def has_transparency(node: Any, width: int, height: int) -> bool:
    """True when some of a canvas of this size shows through the layer."""
    if not node.bounds().contains(QtCore.QRect(0, 0, width, height)):
        return True
    opaque = _OPAQUE.get(node.colorDepth())
    if opaque is None:  # a depth that Krita did not have when this was written
        return False
    lines = min(height, _LINES)
    for i in range(lines):
        y = (2 * i + 1) * height // (2 * lines)
        data = bytes(node.projectionPixelData(0, y, width, 1))
        pixel, size = len(data) // width, len(opaque)
        if any(data[pixel - size + k :: pixel].strip(opaque[k : k + 1]) for k in range(size)):
            return True
    return False


def _may_hold(handle: Any) -> bool:
    """False where a painter has deselected: the mask stays as it was, but limits nothing."""
    action = Krita.instance().action(_DESELECT)
    return not _is_active(handle) or action is None or bool(action.isEnabled())


def _is_active(handle: Any) -> bool:
    active = Krita.instance().activeDocument()
    return active is not None and bool(active == handle)
