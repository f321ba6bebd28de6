"""Keep which accelerations are on; turn one off, with one line in the log, when it fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

from velatura.models.devices import lacks_memory
from velatura.server.worker.runtime.switches import ALL, BY_NAME, Acceleration, Switches

_T = TypeVar("_T")
_P = ParamSpec("_P")
_log = logging.getLogger("velatura.worker")
# Of an error's text, in what is said of it.
_MOST_SAID = 200


class AccelerationFailed(Exception):
    """Acceleration ``name`` failed where plain painting cannot go on from: begin the picture anew."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Accelerations:
    """The accelerations of one worker on one kind of device ("cpu", "cuda", ...). Thread-safe.

    Each starts as ``switches`` say. One that failed stays off until the worker starts again.
    """

    def __init__(self, switches: Switches | None = None, device: str = "cpu") -> None:
        switches = switches or Switches()
        self._lock = threading.Lock()
        self._why_off = {one.name: switches.why_off(one.name) for one in ALL}
        for one in ALL:
            if one.device and one.device != device and not self._why_off[one.name]:
                self._why_off[one.name] = f"not on this device: it is for {one.device.upper()}"

    def is_on(self, name: str) -> bool:
        """Tell whether ``name``, and what it needs, is on."""
        return not self.why_off(name)

    def why_off(self, name: str) -> str:
        """Say why ``name`` is off; nothing where it is on."""
        needs = BY_NAME[name].needs
        if self._why_off[name] or not needs or self.is_on(needs):
            return self._why_off[name]
        return f"off: it needs {needs}"

    def listed(self) -> list[tuple[Acceleration, str]]:
        """Each one, and why it is off; nothing where it is on."""
        return [(one, self.why_off(one.name)) for one in ALL]

    def fail(self, name: str, error: BaseException) -> None:
        """Turn ``name`` off because of ``error``, with one line in the log."""
        text = " ".join(str(error).split())[:_MOST_SAID]
        said = f"{type(error).__name__}: {text}" if text else type(error).__name__
        with self._lock:
            if self._why_off[name]:
                return
            self._why_off[name] = f"does not work here: {said}"
        _log.warning("painting goes on without %s, which does not work here: %s", name, said)

    def probe(self, probes: Mapping[str, Callable[[], None]]) -> None:
        """Try each one that is on; a probe raises where its acceleration does not work."""
        for name, probe in probes.items():
            if self.is_on(name):
                try:
                    probe()
                except Exception as error:  # noqa: BLE001  whatever a library raises, painting goes on
                    self.fail(name, error)


def with_fallback(
    fast: Callable[[], _T], plain: Callable[[], _T], name: str, accelerations: Accelerations
) -> _T:
    """Run ``fast``; where it fails, run ``plain`` and turn ``name`` off.

    A lack of memory is no failure of an acceleration, nor is what ``plain`` raises too.
    """
    try:
        return fast()
    except Exception as error:
        if lacks_memory(error):
            raise
        made = plain()
        accelerations.fail(name, error)
        return made


def begins_anew(run: Callable[_P, _T], name: str, accelerations: Accelerations) -> Callable[_P, _T]:
    """``run``, which turns ``name`` off and raises AccelerationFailed where it fails."""

    def guarded(*given: _P.args, **named: _P.kwargs) -> _T:
        try:
            return run(*given, **named)
        except Exception as error:
            if lacks_memory(error):
                raise
            accelerations.fail(name, error)
            raise AccelerationFailed(name) from error

    return guarded
