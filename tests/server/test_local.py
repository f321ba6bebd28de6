"""A server of one's own ends with who started it, however that ends."""

from __future__ import annotations

import signal
import subprocess
import sys

import psutil

_STARTER = """
import sys, time
from velatura.server.local import local_server
with local_server("test") as client:
    print("greeted", flush=True)
    time.sleep(600)
"""


def test_a_local_server_does_not_outlive_the_one_that_was_killed():
    starter = subprocess.Popen(
        [sys.executable, "-c", _STARTER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert starter.stdout.readline() == b"greeted\n"
        family = psutil.Process(starter.pid).children(recursive=True)
        assert family
        starter.send_signal(signal.SIGKILL)
        starter.wait()
        gone, alive = psutil.wait_procs(family, timeout=60)
        assert alive == []
        assert len(gone) == len(family)
    finally:
        starter.kill()
        starter.wait()
        starter.stdout.close()
