"""How long the plugin holds the GUI thread: a line for each call of it from outside of it.

``holding.py`` puts ``begin`` and ``end`` around its functions, where VELATURA_HOLDS names the file.
A call from outside is Qt's or Krita's (a signal, a timer, an event) or the test's own. Times spent
in Krita's functions are apart, less what they spend in ours.
"""

import json
import os
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial

import krita
from PyQt5.QtWidgets import QAction

# Python methods there would be taken for what our subclasses override.
_OVERRIDDEN = {"Extension", "DockWidget", "DockWidgetFactoryBase", "DockWidgetFactory"}
_gui = threading.get_ident()
_file = None
_open = None  # what runs now, unless Krita does
_test = ""


@dataclass
class Times:
    """Seconds of wall and of this thread's CPU."""

    wall: float = 0.0
    cpu: float = 0.0

    def add(self, other, sign=1):
        self.wall += sign * other.wall
        self.cpu += sign * other.cpu


def _now():
    return Times(time.perf_counter(), time.thread_time())


class Hold:
    def __init__(self, what, outer, by):
        self.what, self.outer, self.by = what, outer, by
        self.krita, self.at = Times(), _now()


_paused = []  # the holds during which Krita runs


def name_test(name):
    global _test
    _test = name


def begin(what, depth=1):
    """None within a call of ours, and on other threads. ``depth``: how far out the function is."""
    global _open
    if _open is not None or threading.get_ident() != _gui:
        return None
    caller = sys._getframe(depth).f_back
    by = "test" if caller is not None and "/scripts/" in caller.f_code.co_filename else "Qt"
    _open = Hold(what, _paused[-1] if _paused else None, by)
    return _open


def end(hold):
    global _open
    spent = _now()
    spent.add(hold.at, -1)
    _open = None
    if hold.outer is not None:  # ours within Krita's within ours: part of the longer one
        hold.outer.krita.add(spent, -1)
        hold.outer.krita.add(hold.krita)
        return
    _write(hold, spent)


def run(what, function):
    """For a lambda."""
    hold = begin(what, depth=2)
    try:
        return function()
    finally:
        if hold is not None:
            end(hold)


def _write(hold, spent):
    global _file
    if _file is None:
        _file = os.open(os.environ["VELATURA_HOLDS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    document = krita.Krita.instance().activeDocument()
    line = {
        "what": hold.what,
        "by": hold.by,
        "test": _test,
        "ms": 1e3 * (spent.wall - hold.krita.wall),
        "cpu_ms": 1e3 * (spent.cpu - hold.krita.cpu),
        "krita_ms": 1e3 * hold.krita.wall,
        "size": None if document is None else [document.width(), document.height()],
    }
    os.write(_file, (json.dumps(line) + "\n").encode())


class _Timed:
    """In place of a method of Krita's, static or not: when we ask for it, it comes with a clock."""

    def __init__(self, original):
        self._original = original

    def __get__(self, instance, owner=None):
        method = self._original.__get__(instance, owner)
        is_ours = _open is not None and threading.get_ident() == _gui
        return partial(_call, method) if is_ours else method


def _call(method, *args, **options):
    global _open
    if _open is None:
        return method(*args, **options)
    hold, _open = _open, None
    _paused.append(hold)
    start = _now()
    try:
        return method(*args, **options)
    finally:
        spent = _now()
        spent.add(start, -1)
        hold.krita.add(spent)
        _paused.pop()
        _open = hold


def _watch(cls, names):
    for name in names:
        if hasattr(cls, name) and type(vars(cls).get(name)).__name__ == "methoddescriptor":
            setattr(cls, name, _Timed(vars(cls)[name]))


def watch_krita():
    for cls in vars(krita).values():
        is_kritas = isinstance(cls, type) and "krita" in cls.__module__.lower()
        if is_kritas and cls.__name__ not in _OVERRIDDEN:
            _watch(cls, [name for name in dir(cls) if not name.startswith("__")])
    _watch(QAction, ["trigger"])


if "VELATURA_HOLDS" in os.environ:
    watch_krita()
