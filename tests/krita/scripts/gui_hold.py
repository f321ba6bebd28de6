"""How long we hold Krita's GUI thread while sending 1024 x 1024 pixels and inserting the result.

A controller of its own, whose slots and calls into Krita are timed, does what the docker's does.
"""

import contextlib
import os
import time

import kt
from PyQt5.QtCore import Qt, QTimer
from velatura.krita_plugin import document as document_module
from velatura.krita_plugin.controller import Controller
from velatura.krita_plugin.document import Document, active_document
from velatura.krita_plugin.link import Link
from velatura.krita_plugin.ui.panel import Panel
from velatura.protocol.discovery import data_folder

SIDE = 1024
ROUNDS = int(os.environ.get("KT_ROUNDS", "7"))


class Clock:
    """Holds: one entry for each time that a slot of ours ran, in ms of wall and of thread time."""

    def __init__(self):
        self.holds = []
        self.inside = [0.0, 0.0]  # Krita's part of the slot that runs now

    def take(self):
        holds, self.holds = self.holds, []
        return max(holds, key=lambda hold: hold["ours_ms"])

    @contextlib.contextmanager
    def slot(self):
        self.inside = [0.0, 0.0]
        spent = Spent()
        yield
        wall, thread = spent.now()
        self.holds.append(
            {
                "ours_ms": wall - self.inside[0],
                "ours_cpu_ms": thread - self.inside[1],
                "krita_ms": self.inside[0],
            }
        )

    @contextlib.contextmanager
    def krita(self, sign=1):
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
            with on():
                return method(self, *args, **options)

        return call

    return type(cls.__name__, (cls,), {name: wrap(name) for name in names})


CALLS = (
    *("read_projection", "read_layer", "read_selection", "selection_bounds"),
    *("layers", "layer", "add_layer", "set_annotation"),
)
TimedDocument = timed(Document, CALLS, clock.krita)
Timed = timed(Controller, ("press", "_arrived", "_news"), clock.slot)


def time_conversions():
    """Our own work inside the document's calls is not Krita's."""
    for name in ("rgba_bytes", "swap_red_blue"):
        function = getattr(document_module, name)

        def call(*args, function=function):
            with clock.krita(-1):
                return function(*args)

        setattr(document_module, name, call)


class Gaps:
    """A 1 ms timer: how long the event loop was away."""

    def __init__(self):
        self.longest, self.last = 0.0, time.perf_counter()
        self.timer = QTimer()
        self.timer.setTimerType(Qt.PreciseTimer)
        self.timer.timeout.connect(self.tick)
        self.timer.start(1)

    def tick(self):
        now = time.perf_counter()
        self.longest, self.last = max(self.longest, 1e3 * (now - self.last)), now

    def take(self):
        longest, self.longest = self.longest, 0.0
        return longest


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
    gaps, sends, inserts, idle = Gaps(), [], [], []
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
        yield 100
        inserts.append({**clock.take(), "gap_ms": gaps.take()})
        doc.rootNode().childNodes()[-1].remove()
        doc.waitForDone()
        yield 200
    link.stop()
    assert docker is not None
    # The first round also imports and warms up.
    kt.report(
        idle_gap_ms=idle[1:], send=sends[1:], insert=inserts[1:], first=[sends[0], inserts[0]]
    )
