"""Draws the docker in its main states: python docs/docker_pictures.py makes docs/docker-*.png.

Without Krita, in Krita's dark and light colours, 260 and 400 pixels wide, at 100 and 200 %.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
WIDTHS, HEIGHT, GAP = (260, 400), 480, 12
# Window, base, text, button, highlight: of Krita's dark and bright themes.
THEMES = {
    "dark": ("#474747", "#3b3b3b", "#e0e0e0", "#525252", "#5b7896"),
    "light": ("#d6d6d6", "#e6e6e6", "#202020", "#dedede", "#7a9cc0"),
}


def main() -> None:
    for scale in ("1", "2"):
        environ = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "QT_SCALE_FACTOR": scale}
        subprocess.run([sys.executable, __file__, scale], check=True, env=environ)


def draw(scale: int) -> None:
    from velatura.krita_plugin.qt import QtGui, QtWidgets

    app = QtWidgets.QApplication([])
    app.setStyle("Fusion")
    for theme, colours in THEMES.items():
        app.setPalette(_palette(*colours))
        dockers = [_docker(app, state, width) for width in WIDTHS for state in _STATES]
        wide = sum(d.width() + GAP for d in dockers[len(_STATES) :])
        sheet = QtGui.QPixmap(scale * wide, scale * len(WIDTHS) * (HEIGHT + GAP))
        sheet.setDevicePixelRatio(scale)
        sheet.fill(QtGui.QColor(colours[1]))
        painter = QtGui.QPainter(sheet)
        for i, docker in enumerate(dockers):
            line, place = divmod(i, len(_STATES))
            painter.drawPixmap(place * (docker.width() + GAP), line * (HEIGHT + GAP), docker.grab())
        painter.end()
        path = HERE / f"docker-{theme}-{100 * scale}.png"
        sheet.toImage().convertToFormat(QtGui.QImage.Format.Format_RGB888).save(str(path), "PNG", 0)
        small = Image.open(path).quantize(128, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
        print(path.name, path.stat().st_size // 1024, "KB")


def _palette(window: str, base: str, text: str, button: str, highlight: str):
    from velatura.krita_plugin.qt import QtGui

    palette, role = QtGui.QPalette(), QtGui.QPalette.ColorRole
    for colour, roles in (
        (window, (role.Window, role.AlternateBase)),
        (base, (role.Base, role.ToolTipBase)),
        (text, (role.WindowText, role.Text, role.ButtonText, role.ToolTipText)),
        (button, (role.Button,)),
        (highlight, (role.Highlight,)),
    ):
        for which in roles:
            palette.setColor(which, QtGui.QColor(colour))
    faint = QtGui.QColor(text)
    faint.setAlpha(110)
    for which in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QtGui.QPalette.ColorGroup.Disabled, which, faint)
    return palette


def _docker(app, state: Callable, width: int):
    from velatura.krita_plugin.state import READY, LinkState
    from velatura.krita_plugin.ui.panel import Panel

    panel = Panel()
    panel.resize(width, HEIGHT)
    panel.show_models((_model(),))
    panel.show_link(LinkState(READY, "Ready on CPU with 8 threads.", "CPU with 8 threads"))
    panel.prompts.prompt.setPlainText("a red fishing boat at dusk, quiet water")
    then = state(panel)
    panel.show()
    for step in range(16):
        if step == 8 and then is not None:
            then()
        app.processEvents()
    return panel


def _model():
    from velatura.protocol import messages as m

    return m.ModelInfo(
        name="velatura-starter",
        family="sd15",
        native=512,
        multiple=8,
        largest=1024,
        actions=m.ACTIONS,
        controls=("line", "depth"),
        samplers=("Euler a",),
        sampler="Euler a",
        steps=20,
        guidance=5.0,
    )


def _picture():
    from velatura.krita_plugin.qt import QtGui

    """One of the starter's."""
    sheet = QtGui.QImage(str(HERE / "starter-prompts.jpg"))
    return sheet.copy(0, 0, 128, 128)


def _canvas(**what):
    from velatura.krita_plugin.canvas import Canvas
    from velatura.protocol.region import Rect, Size

    if what.pop("selected", False):
        what["selection"] = Rect(300, 300, 400, 300)
    return Canvas(Size(1600, 1200), **what)


_LAYERS = [("{1}", "Line art"), ("{2}", "A very long name of a layer that somebody once wrote")]


def _new(panel) -> None:
    panel.prompts.prompt.clear()
    panel.show_canvas(_canvas(blank=True), _LAYERS)


def _fill(panel) -> Callable:
    panel.show_canvas(_canvas(selected=True), _LAYERS)
    picture = _picture()
    panel.sent_row.show_picture(picture.copy(0, 0, picture.height(), picture.height()), 700, 700)
    return lambda: panel._scroll.ensureWidgetVisible(panel.sent_row)


def _painting(panel) -> None:
    panel.show_canvas(_canvas(), _LAYERS)
    panel.show_painting(True)
    panel.progress.show_stage("Painting, step 12 of 20 (1 of 3)", 0.2)
    panel.show_preview(_picture())


def _expand(panel) -> None:
    panel.show_canvas(_canvas(), _LAYERS)
    panel.press.choices["expand"].trigger()
    panel.expand.sides["right"].setChecked(True)


def _guides(panel) -> Callable:
    from velatura.krita_plugin.state import Guide

    panel.show_canvas(_canvas(), _LAYERS)
    panel.guide.show_guides((Guide("line", "{1}", 80), Guide("depth", "{2}", 120)))
    return lambda: panel._scroll.ensureWidgetVisible(panel.guide.rows[0])


def _error(panel) -> None:
    from velatura.krita_plugin.state import NO_SERVER, LinkState

    panel.show_canvas(_canvas(selected=True), _LAYERS)
    panel.show_link(LinkState(NO_SERVER, "No server is running."))
    panel.notice.say("There is no server yet: wait until the light is green.", lambda: None)


_STATES = (_new, _fill, _painting, _expand, _guides, _error)

if __name__ == "__main__":
    if len(sys.argv) > 1:
        draw(int(sys.argv[1]))
    else:
        main()
