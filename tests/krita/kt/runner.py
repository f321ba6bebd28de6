"""Steps the scripts. One job at a time: jobs/N.json in, jobs/N.result.json out."""

import contextlib
import faulthandler
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path

from krita import Extension, Krita
from PyQt5.QtCore import QTimer

from . import holds, painting, stepping, widgets

POLL_MS = 50
CONDITION_MS = 20
# What a script waits for comes at once or, on a busy machine, late.
LEAST_SECONDS = 30.0
# Krita tells its own views of a new layer by queued signals: a document that is closed before they
# arrive crashes it.
SETTLE_MS = 200


class Runner(Extension):
    def __init__(self, parent):
        super().__init__(parent)
        self.folder = Path(os.environ["KT_FOLDER"])
        self.number = 0
        self.job = None
        self.armed = False

    def setup(self):
        pass

    def createActions(self, window):
        if self.armed:  # once for every window
            return
        self.armed = True
        # Krita's own hook opens a modal dialog, which nobody answers.
        sys.excepthook = self.uncaught
        threading.excepthook = lambda args: self.uncaught(
            args.exc_type, args.exc_value, args.exc_traceback
        )
        self.faults = (self.folder / "faults.txt").open("w", encoding="utf-8")
        faulthandler.enable(self.faults)
        self.timer = QTimer()
        self.timer.timeout.connect(self.poll)
        self.timer.start(POLL_MS)

    def poll(self):
        if (self.folder / "quit").exists():
            os._exit(0)  # QApplication.quit crashes
        path = self.folder / "jobs" / f"{self.number + 1}.json"
        if path.exists():
            self.timer.stop()
            self.number += 1
            window = Krita.instance().activeWindow().qwindow()
            window.setGeometry(window.screen().availableGeometry())
            self.job = Job(json.loads(path.read_text("utf-8")), self.finished)
            self.job.start(self.faults)

    def finished(self, result):
        self.job = None
        faulthandler.cancel_dump_traceback_later()
        path = self.folder / "jobs" / f"{self.number}.result.json"
        part = path.with_suffix(".part")
        part.write_text(json.dumps(result), "utf-8")
        part.rename(path)
        self.timer.start(POLL_MS)

    def uncaught(self, *exception):
        text = "".join(traceback.format_exception(*exception))
        print(text, file=sys.stderr, flush=True)
        if self.job is not None:
            self.job.strays.append(text)


class Job:
    """One script: its generator, the exceptions that escaped elsewhere meanwhile, its result."""

    def __init__(self, spec, done):
        self.spec = spec
        self.done = done
        self.strays = []
        self.wait = None
        self.deadline = 0.0
        self.before = dict(os.environ)
        stepping.record.lines.clear()
        stepping.record.values.clear()

    def start(self, faults):
        # A hung script leaves its stack behind before the harness ends Krita.
        faulthandler.dump_traceback_later(max(1.0, self.spec["timeout"] - 1), file=faults)
        os.environ.update(self.spec["env"])
        holds.name_test(f"{os.path.basename(self.spec['script'])}::{self.spec['test']}")
        path = self.spec["script"]
        folder = os.path.dirname(path)
        if folder not in sys.path:
            sys.path.insert(0, folder)
        try:
            with open(path, encoding="utf-8") as file:
                code = compile(file.read(), path, "exec")
            scope = {"__name__": "kt_script", "__file__": path}
            exec(code, scope)
            self.steps = scope[self.spec["test"]]()
            if not hasattr(self.steps, "send"):
                raise TypeError(f"{self.spec['test']} must be a generator: let it yield once.")
        except Exception:  # noqa: BLE001 - reported to the harness, whatever it is
            self.end(traceback.format_exc())
            return
        self.step()

    def step(self):
        if self.strays:
            self.steps.close()
            self.end("")
            return
        try:
            if self.wait is None or self.wait.condition():
                self.resume()
            elif time.monotonic() > self.deadline:
                what = self.wait.what
                self.wait = None
                self.schedule(self.steps.throw(TimeoutError(f"waited in vain for {what}")))
            else:
                QTimer.singleShot(CONDITION_MS, self.step)
        except StopIteration:
            self.end("")
        except Exception:  # noqa: BLE001 - reported to the harness, whatever it is
            self.end(traceback.format_exc())

    def resume(self):
        self.wait = None
        self.schedule(next(self.steps))

    def schedule(self, wish):
        if callable(wish):
            wish = stepping.Until(wish)
        if isinstance(wish, stepping.Until):
            self.wait = wish
            self.deadline = time.monotonic() + max(wish.seconds, LEAST_SECONDS)
            QTimer.singleShot(0, self.step)
        else:
            QTimer.singleShot(int(wish or 0), self.step)

    def end(self, error):
        error = "\n".join([*self.strays, error]).strip()
        if error:
            with contextlib.suppress(Exception):  # the script's own failure is the news
                widgets.screenshot(self.spec["screenshot"])
        QTimer.singleShot(SETTLE_MS, lambda: self.clean(error))

    def clean(self, error):
        with contextlib.suppress(Exception):  # as above
            painting.close_all()
        for name in set(os.environ) - set(self.before):
            del os.environ[name]
        os.environ.update(self.before)
        result = {
            "error": error,
            "lines": list(stepping.record.lines),
            "values": dict(stepping.record.values),
        }
        QTimer.singleShot(SETTLE_MS, lambda: self.done(result))
