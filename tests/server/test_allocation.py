"""Pictures that come and go do not fetch fresh pages from the system each time."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PICTURES = """
import resource, sys
from velatura.server.allocation import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def touch():
    held = [bytearray(b"x") * (5 << 20) for _ in range(4)]
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PICTURES, how], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only the GNU C library gives back so soon"
)
def test_pages_that_pictures_left_are_used_again():
    assert faults("kept") < faults("given back") / 20
