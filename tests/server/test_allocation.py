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


BURST = """
import asyncio, sys
from velatura.server import allocation
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
async def main():
    allocation._LOOK = 0.05
    allocation.keep_freed_memory()
    before, moved = resident(), 0
    tidying = asyncio.create_task(allocation.return_memory(lambda: moved))
    await asyncio.sleep(0.1)
    held = []
    for _ in range(100):
        held += [bytearray(b"x") * (4 << 20), bytearray(1 << 20)]
        moved += 4 << 20
    above = held[1::2]
    del held
    busy = resident() - before
    await asyncio.sleep(0.5)
    print(busy, resident() - before)
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only the GNU C library keeps what is freed"
)
def test_what_a_burst_left_goes_back_once_it_is_quiet_though_something_lives_above_it():
    done = subprocess.run([sys.executable, "-c", BURST], capture_output=True, text=True, check=True)
    busy, idle = map(int, done.stdout.split())
    assert busy > 400 << 20
    assert idle < 150 << 20
