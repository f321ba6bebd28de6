"""Layers that are there on some frames of an animation only.

Krita's API makes no keyframes but by importing a file for each, and in Krita 5.1 that sometimes ends
the program. So a file of Krita's own is written that has them, for Krita to open.
"""

from __future__ import annotations

import io
import zipfile

from .frames import Frames

_DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE DOC PUBLIC '-//KDE//DTD krita 2.0//EN' 'http://www.calligra.org/DTD/krita-2.0.dtd'>
<DOC xmlns="http://www.calligra.org/DTD/krita" syntaxVersion="2.0" editor="Krita">
 <IMAGE name="it" mime="application/x-kra" width="{width}" height="{height}" x-res="300" y-res="300"
  colorspacename="RGBA" profile="sRGB-elle-V2-srgbtrc.icc">
  <layers>{layers}</layers>
  <animation>
   <framerate type="value" value="24"/>
   <range type="timerange" from="0" to="{last}"/>
   <currentTime type="value" value="{now}"/>
  </animation>
 </IMAGE>
</DOC>"""
_GROUP = """<layer nodetype="grouplayer" filename="group" visible="1" opacity="255"
 compositeop="normal" passthrough="0"><layers>{layers}</layers></layer>"""
_LAYER = """<layer nodetype="paintlayer" filename="layer0" keyframes="keyframes.xml" visible="1"
 opacity="255" compositeop="normal" colorspacename="RGBA"/>"""
_KEYFRAMES = """<?xml version="1.0" encoding="UTF-8"?>
<keyframes xmlns="http://www.calligra.org/DTD/krita-keyframes">
 <channel name="content">{keyframes}</channel>
</keyframes>"""
_KEYFRAME = """<keyframe time="{time}" frame="layer{number}">
 <offset type="point" x="0" y="0"/></keyframe>"""
_EMPTY = "VERSION 2\nTILEWIDTH 64\nTILEHEIGHT 64\nPIXELSIZE 4\nDATA 0\n"


def kra(width: int, height: int, layers: int, frames: Frames, profile: bytes) -> bytes:
    """A .kra file (RGBA8, sRGB) of empty paint layers, in a group where there are several.

    They have keyframes where ``frames`` begin and end, and the first of these is the current frame:
    pixels that are set then are there on ``frames`` only. profile: sRGB's ICC profile.
    """
    times = sorted({0, frames.first, frames.end or 0})
    inner = _LAYER * layers
    document = _DOCUMENT.format(
        width=width,
        height=height,
        layers=inner if layers == 1 else _GROUP.format(layers=inner),
        now=frames.first,
        last=times[-1],
    )
    keyframes = "".join(_KEYFRAME.format(time=time, number=n) for n, time in enumerate(times))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("mimetype", "application/x-krita")
        file.writestr("maindoc.xml", document)
        file.writestr("it/layers/keyframes.xml", _KEYFRAMES.format(keyframes=keyframes))
        file.writestr("it/layers/layer0.icc", profile)
        for number in range(len(times)):
            file.writestr(f"it/layers/layer{number}", _EMPTY)
            file.writestr(f"it/layers/layer{number}.defaultpixel", bytes(4))
    return made.getvalue()
