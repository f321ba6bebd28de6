"""An installation is whole or it does not start, whatever ends it, and touches nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from velatura.krita_plugin.install.installed import installed, used
from velatura.krita_plugin.install.installer import STEPS, Installer
from velatura.krita_plugin.install.lock import Lock
from velatura.krita_plugin.install.troubles import Cancelled, Trouble
from velatura.protocol.discovery import read_launch
from workshop import fake, make_payload, plan_for

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the small uv is a script")


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def home(tmp_path):
    return tmp_path / "hôme with spaces # 100 %" / "server"


def install(payload, home, data, *, tell=lambda progress: None, is_cancelled=lambda: False, **told):
    plan = plan_for(payload, home)
    return Installer(plan, data, tell, environ=fake(**told), is_cancelled=is_cancelled).install()


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_all_steps_come_in_their_order_and_the_server_starts_afterwards(tmp_path, home, data):
    steps = []
    new = install(make_payload(tmp_path / "p"), home, data, tell=lambda x: steps.append(x.step))
    assert steps == sorted(steps)
    assert set(steps) == set(range(len(STEPS)))
    assert list(read_launch(data).command) == new.command
    assert new.command[0].startswith(str(home))
    assert (new.receipt.paints_on, new.receipt.seconds) == ("a brush", 1.5)


def test_the_painter_sees_what_comes_and_how_large_it_is(tmp_path, home, data):
    seen = []
    install(make_payload(tmp_path / "p"), home, data, tell=seen.append)
    libraries = [x for x in seen if x.step == 3]
    assert libraries[0].total == 500_000_000  # what the plan said, until uv knows
    assert ("torch", 10 << 20) in {(x.name, x.total) for x in libraries}


def test_nothing_outside_the_folder_and_the_switch_is_touched(tmp_path, home, data):
    payload = make_payload(tmp_path / "p")
    before = tree(tmp_path)
    install(payload, home, data)
    new = tree(tmp_path) - before
    inside = (str(home.relative_to(tmp_path)), str(home.parent.relative_to(tmp_path)), "data")
    assert {path for path in new if not path.startswith(inside)} == set()
    assert tree(data) == {"launch.json"}


@pytest.mark.parametrize("step", ["venv", "pip", "picture"])
def test_a_step_that_fails_leaves_no_server_and_says_one_sentence(tmp_path, home, data, step):
    said = {"code": 2, "say": "error: No space left on device (os error 28)"}
    with pytest.raises(Trouble) as caught:
        install(make_payload(tmp_path / "p"), home, data, **{step: said})
    assert "disk is full" in caught.value.sentence
    assert installed(home) == []
    assert read_launch(data) is None


@pytest.mark.parametrize("step", ["venv", "pip", "picture"])
def test_an_update_that_fails_leaves_the_server_that_was_there(tmp_path, home, data, step):
    old = install(make_payload(tmp_path / "old"), home, data)
    newer = make_payload(tmp_path / "new", "2.0.0")
    with pytest.raises(Trouble):
        install(newer, home, data, **{step: {"code": 1, "say": "boom"}})
    assert used(data, home) == old
    assert used(data, home).receipt.version == "1.0.0"


def test_retry_goes_on_and_lets_nothing_of_the_failed_attempt_stay(tmp_path, home, data):
    payload = make_payload(tmp_path / "p")
    with pytest.raises(Trouble):
        install(payload, home, data, pip={"code": 1, "say": "connection reset"})
    new = install(payload, home, data)
    assert [path.name for path in (home / "versions").iterdir()] == [new.folder.name]


@pytest.mark.parametrize("step", ["venv", "pip", "picture"])
def test_cancel_ends_it_within_a_moment_and_the_next_attempt_works(tmp_path, home, data, step):
    stop = threading.Event()
    payload = make_payload(tmp_path / "p")
    wanted = {"venv": 2, "pip": 3, "picture": 4}[step]
    times = []

    def tell(progress):
        if progress.step == wanted and not stop.is_set():
            stop.set()
            times.append(time.monotonic())

    with pytest.raises(Cancelled):
        install(payload, home, data, tell=tell, is_cancelled=stop.is_set, **{step: {"sleep": 60}})
    assert time.monotonic() - times[0] < 30
    assert read_launch(data) is None
    assert install(payload, home, data).receipt.number


_KILLED = """
import json, os, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[4])
from workshop import plan_for
from velatura.krita_plugin.install.installer import Installer
plan = plan_for(Path(sys.argv[1]), Path(sys.argv[2]))
Installer(plan, Path(sys.argv[3]), lambda x: print(x.step, flush=True)).install()
"""


def killed_in(step: int, payload: Path, home: Path, data: Path, environ: dict[str, str]) -> None:
    """An installer in a process of its own, killed -9 when it has come to ``step``."""
    paths = json.dumps([str(Path(__file__).parent), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(payload), str(home), str(data), paths],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.strip() == str(step):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_a_killed_installer_leaves_the_old_server_and_the_next_one_ends_it(
    tmp_path, home, data, step
):
    old = install(make_payload(tmp_path / "old"), home, data)
    payload = make_payload(tmp_path / "new", "2.0.0")
    slow = {"sleep": 1.5}
    environ = fake(venv=slow, pip=slow, picture=slow)
    environ.pop("PYTHONHOME")
    killed_in(step, payload, home, data, environ)
    assert used(data, home) == old
    new = install(payload, home, data)  # while what uv was doing may still go on
    assert used(data, home) == new
    time.sleep(1.6)
    assert used(data, home) == new


def test_two_at_once_are_one_and_a_sentence(tmp_path, home, data):
    home.mkdir(parents=True)
    other = Lock(home / "lock")
    assert other.take()
    with pytest.raises(Trouble, match="Another Krita is installing") as caught:
        install(make_payload(tmp_path / "p"), home, data)
    assert caught.value.kind == "busy"
    other.release()
    install(make_payload(tmp_path / "q"), home, data)


def test_the_log_tells_all_but_secrets(tmp_path, home, data):
    said = "error: Failed to fetch https://anna:secret@nas/torch?token=hush from " + str(
        Path.home()
    )
    with pytest.raises(Trouble):
        install(make_payload(tmp_path / "p"), home, data, pip={"code": 1, "say": said})
    log = (home / "install.log").read_text()
    assert "Failed to fetch" in log
    assert "nas/torch" in log
    assert not any(word in log for word in ("secret", "hush"))
    assert str(Path.home()) + " " not in log + " "


def test_the_log_of_the_attempt_before_stays(tmp_path, home, data):
    payload = make_payload(tmp_path / "p")
    with pytest.raises(Trouble):
        install(payload, home, data, pip={"code": 1, "say": "boom"})
    install(payload, home, data)
    assert "boom" in (home / "install.log.old").read_text()
    assert "boom" not in (home / "install.log").read_text()
