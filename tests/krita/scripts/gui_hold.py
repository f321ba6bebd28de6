"""How long we hold Krita's GUI thread: sending 1024 x 1024 pixels, inserting the result, and live.

A controller and a live desk of its own, whose slots and calls into Krita are timed, do what the
docker's do.
"""

import contextlib
import os
import time

import kt
from PyQt5.QtCore import Qt, QTimer
from velatura.krita_plugin import controller as controller_module
from velatura.krita_plugin import document as document_module
from velatura.krita_plugin import overlay, view
from velatura.krita_plugin.controller import Controller
from velatura.krita_plugin.document import Document, active_document
from velatura.krita_plugin.link import Link
from velatura.krita_plugin.live_area import LiveChoice
from velatura.krita_plugin.live_desk import LiveDesk
from velatura.krita_plugin.live_keeper import LiveKeeper
from velatura.krita_plugin.results import Results
from velatura.krita_plugin.strokes import Strokes
from velatura.krita_plugin.ui.panel import Panel
from velatura.krita_plugin.ui.progress import Picture
from velatura.protocol.discovery import data_folder

SIDE = 1024
ROUNDS = int(os.environ.get("KT_ROUNDS", "7"))


class Clock:
    """Holds: one entry for each time that a slot of ours ran, in ms of wall and of thread time."""

    def __init__(self):
        self.holds = []
        self.depth = 0
        self.inside = [0.0, 0.0]  # Krita's part of the slot that runs now

    def take(self):
        holds, self.holds = self.holds, []
        worst = max(holds, key=lambda hold: hold["ours_ms"])
        return {name: value for name, value in worst.items() if name != "what"}

    @contextlib.contextmanager
    def slot(self, what):
        if self.depth:  # a part of the one that runs
            yield
            return
        self.depth += 1
        self.inside = [0.0, 0.0]
        spent = Spent()
        try:
            yield
        finally:
            self.depth -= 1
        wall, thread = spent.now()
        self.holds.append(
            {
                "what": what,
                "ours_ms": wall - self.inside[0],
                "ours_cpu_ms": thread - self.inside[1],
                "krita_ms": self.inside[0],
            }
        )

    @contextlib.contextmanager
    def krita(self, what="", sign=1):
        spent = Spent()
        yield
        wall, thread = spent.now()
        self.inside[0] += sign * wall
        self.inside[1] += sign * thread


class Spent:
    def __init__(self):
        self.wall, self.thread = time.perf_counter(), time.thread_time()

    def now(self):
        return 1e3 * (time.perf_counter() - self.wall), 1e3 * (time.thread_time() - self.thread)


clock = Clock()


def timed(cls, names, on):
    """A subclass whose methods tell the clock."""

    def wrap(name):
        method = getattr(cls, name)

        def call(self, *args, **options):
            with on(name):
                return method(self, *args, **options)

        return call

    return type(cls.__name__, (cls,), {name: wrap(name) for name in names})


CALLS = (
    *("read_projection", "read_layer", "read_selection", "selection_bounds"),
    *("layers", "layer", "insert", "set_annotation", "annotation_keys", "fingerprint", "picture"),
    *("set_bytes", "get_bytes", "remove_annotation", "wait_for_idle"),
)
TimedDocument = timed(Document, CALLS, clock.krita)
Timed = timed(Controller, ("press", "_arrived", "_news"), clock.slot)
controller_module.Results = timed(Results, ("_take", "_keep", "_insert"), clock.slot)


def time_conversions():
    """Our own work inside the document's calls is not Krita's."""
    for name in ("rgba_bytes", "swap_red_blue"):
        function = getattr(document_module, name)

        def call(*args, function=function):
            with clock.krita(sign=-1):
                return function(*args)

        setattr(document_module, name, call)


class Gaps:
    """A 1 ms timer: how long the event loop was away."""

    def __init__(self):
        self.longest, self.last = 0.0, time.perf_counter()
        self.all = []
        self.timer = QTimer()
        self.timer.setTimerType(Qt.PreciseTimer)
        self.timer.timeout.connect(self.tick)
        self.timer.start(1)

    def tick(self):
        now = time.perf_counter()
        self.all.append(1e3 * (now - self.last))
        self.longest, self.last = max(self.longest, 1e3 * (now - self.last)), now

    def take(self):
        longest, self.longest = self.longest, 0.0
        return longest

    def take_all(self):
        gaps, self.all = self.all, []
        return gaps


LIVE_SLOTS = ("_place", "_look", "_heard", "_changed", "_pen_moved", "_link_changed", "switch")
TimedDesk = timed(LiveDesk, LIVE_SLOTS, clock.slot)
STROKE_S = float(os.environ.get("KT_STROKE_S", "3"))


def time_widgets():
    """What Qt calls by itself: the overlay, the picture in the docker, the ear for the pen."""
    for cls, name in (
        (overlay._Sheet, "paintEvent"),
        (overlay._Sheet, "eventFilter"),
        (overlay.Overlay, "_faded"),
        (view.PenWatch, "eventFilter"),
        (Picture, "paintEvent"),
    ):
        method = getattr(cls, name)

        def call(self, *args, method=method, what=f"{cls.__name__}.{name}"):
            with clock.slot(what):
                return method(self, *args)

        setattr(cls, name, call)


def scribble():
    """A stroke to and fro over the canvas, STROKE_S long."""
    widget = view.active_view().widget
    corner = widget.mapToGlobal(widget.rect().topLeft())
    left, top = corner.x() + widget.width() // 4, corner.y() + widget.height() // 4
    width, height = widget.width() // 2, widget.height() // 2
    count = int(STROKE_S / 0.02)
    points = [
        (left + abs((i * 12) % (2 * width) - width), top + height * i // count)
        for i in range(count)
    ]
    yield from kt.stroke(points)


def live():
    """Strokes over a 1024 x 1024 picture with live on and off, and what live costs at rest."""
    doc = yield from kt.new_document(SIDE, SIDE, kt.noise(SIDE, SIDE))
    kt.select(doc, 0, 0, SIDE, SIDE)
    time_conversions()
    time_widgets()
    panel = Panel()
    panel.live_options.choose(LiveChoice(side=SIDE))
    link = Link(data_folder())
    sent, heard = [], []

    def active():
        found = active_document()
        return None if found is None else TimedDocument(found._handle)

    desk = TimedDesk(panel, link, active, LiveKeeper(panel, Strokes()))
    send = link.send_live
    link.send_live = lambda message: (sent.append(type(message).__name__), send(message))
    link.live.connect(heard.append)
    link.catalogue.connect(panel.show_models)
    link.start()
    panel.setWindowFlag(Qt.Tool)
    panel.resize(260, 480)
    panel.move(1300, 300)
    panel.show()
    yield kt.until(lambda: panel.model.model is not None, 60, "the catalogue")
    yield 500
    gaps, rounds = Gaps(), []
    for number in range(ROUNDS + 1):
        for on in (False, True):
            desk.switch(on)
            if on:
                yield kt.until(lambda: panel.live.picture.image is not None, 60, "a picture")
            yield 500
            clock.holds.clear(), gaps.take_all(), sent.clear(), heard.clear()
            yield from scribble()
            yield 300
            holds, clock.holds = clock.holds, []
            rounds.append(
                {
                    "round": number,
                    "on": on,
                    "gaps_ms": gaps.take_all(),
                    "ours_cpu_ms": [hold["ours_cpu_ms"] for hold in holds],
                    "ours_ms": [hold["ours_ms"] for hold in holds],
                    "krita_ms": [hold["krita_ms"] for hold in holds],
                    "worst": sorted(holds, key=lambda hold: -hold["ours_cpu_ms"])[:3],
                    "frames": sent.count("LiveFrame"),
                    "pictures": sum(type(one).__name__ == "LiveResult" for one in heard),
                }
            )
    gaps.timer.stop()
    rest = {}
    for on in (True, False, True, False):
        desk.switch(on)
        yield 3000
        clock.holds.clear(), sent.clear()
        used, start = time.process_time(), time.perf_counter()
        yield 5000
        seconds = time.perf_counter() - start
        part = rest.setdefault("on" if on else "off", {"frames": 0, "krita": [], "ours": []})
        part["krita"].append((time.process_time() - used) / seconds)
        part["ours"].append(sum(hold["ours_cpu_ms"] for hold in clock.holds) / 1e3 / seconds)
        part["frames"] += len(sent)
    desk.switch(False)
    panel.close()
    link.stop()
    # The first round also imports and warms up.
    kt.report(rounds=[one for one in rounds if one["round"]], rest=rest)


def test():
    doc = yield from kt.new_document(SIDE, SIDE, kt.noise(SIDE, SIDE))
    docker = kt.docker()
    time_conversions()
    panel = Panel()
    link = Link(data_folder())
    arrived = []

    def active():
        found = active_document()
        return None if found is None else TimedDocument(found._handle)

    controller = Timed(panel, link, active)
    link.result.connect(arrived.append)
    link.start()
    yield kt.until(lambda: panel.model.model is not None, 60, "the catalogue")
    yield 500
    gaps, sends, takes, inserts, idle = Gaps(), [], [], [], []
    strip = panel.strip
    for number in range(ROUNDS + 1):
        panel.prompts.prompt.setPlainText(f"slow=30 round {number}")
        gaps.take()
        yield 300
        idle.append(gaps.take())
        controller.press()
        sent = clock.take()
        yield 60
        sends.append({**sent, "gap_ms": gaps.take()})
        yield kt.until(lambda count=number: len(arrived) > count, 60, "the result")
        yield kt.until(lambda: strip.pictures, 60, "the picture in the strip")
        yield 100
        takes.append({**clock.take(), "gap_ms": gaps.take()})
        nodes = len(doc.rootNode().childNodes())
        strip.keep_chosen()
        yield kt.until(
            lambda count=nodes: len(doc.rootNode().childNodes()) > count, 60, "the layer"
        )
        yield 100
        inserts.append({**clock.take(), "gap_ms": gaps.take()})
        doc.rootNode().childNodes()[-1].remove()
        doc.waitForDone()
        yield 200
    link.stop()
    assert docker is not None
    # The first round also imports and warms up.
    kt.report(
        idle_gap_ms=idle[1:],
        send=sends[1:],
        take=takes[1:],
        insert=inserts[1:],
        first=[sends[0], takes[0], inserts[0]],
    )
