"""One command: its lines, its end, and nothing of it left behind."""

from __future__ import annotations

import os
import sys
import time

import psutil
import pytest
from velatura.krita_plugin.install.machine import LINUX, WINDOWS, hidden
from velatura.krita_plugin.install.runner import run
from velatura.krita_plugin.install.troubles import Cancelled, Trouble

# Ends at once and leaves a child that keeps its output open.
_LEAVES = """
import subprocess, sys
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
print(left.pid, flush=True)
sys.exit(int(sys.argv[1]))
"""


def do(folder, *command, hear=lambda line: None, **options):
    return run(command, environ=os.environ, folder=folder, system=LINUX, hear=hear, **options)


@pytest.mark.skipif(os.name != "posix", reason="groups of processes")
@pytest.mark.parametrize("code", [0, 3])
def test_what_a_command_leaves_behind_neither_holds_it_up_nor_stays(tmp_path, code):
    heard = []
    start = time.monotonic()
    if code:
        with pytest.raises(Trouble):
            do(tmp_path, sys.executable, "-c", _LEAVES, str(code), hear=heard.append)
    else:
        do(tmp_path, sys.executable, "-c", _LEAVES, str(code), hear=heard.append)
    assert time.monotonic() - start < 60
    with pytest.raises(psutil.NoSuchProcess):
        psutil.Process(int(heard[0])).wait(20) or psutil.Process(int(heard[0]))


def test_all_lines_are_heard_also_those_at_the_end(tmp_path):
    heard = []
    said = do(tmp_path, sys.executable, "-c", "for i in range(500): print(i)", hear=heard.append)
    assert heard == [str(i) for i in range(500)] == said.split("\n")


def test_a_program_that_is_missing_is_a_sentence_with_its_path(tmp_path):
    with pytest.raises(Trouble, match="no-such-program"):
        do(tmp_path, str(tmp_path / "no-such-program"))


def test_what_is_cancelled_before_it_begins_does_not_begin(tmp_path):
    with pytest.raises(Cancelled):
        do(tmp_path, "touch", str(tmp_path / "begun"), is_cancelled=lambda: True)
    assert not (tmp_path / "begun").exists()


def test_on_windows_no_window_opens():
    assert hidden(WINDOWS) == {"creationflags": 0x08000000}
    assert hidden(LINUX) == {}
