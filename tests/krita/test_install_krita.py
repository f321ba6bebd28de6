"""Import the zip, press Install, paint: in a real Krita, where uv finds no Python."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import install_mirror
import pytest
from serving import end
from velatura.krita_plugin.install.installed import RECEIPT
from velatura.protocol.discovery import read_running

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def release_zip(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("release", ROOT / "tools/release.py")
    release = importlib.util.module_from_spec(spec)
    sys.modules["release"] = release
    spec.loader.exec_module(release)
    into = tmp_path_factory.mktemp("release")
    (path,) = release.build(into, release.PLATFORMS[:1], cache=ROOT / ".cache/uv")
    return path


def test_from_the_zip_to_a_kept_layer_cut_off_updated_and_removed(
    krita, release_zip, tmp_path_factory
):
    home = krita.new_home(plugin=False)
    data = home / ".local/share/velatura"
    data.mkdir(parents=True)
    server = data / "server"
    environ = {"OMP_NUM_THREADS": "1", **install_mirror.index_environment()}
    # Where programs are looked for: uv finds no Python there, Krita has all that it needs.
    nowhere = {"PATH": str(home / "nowhere")}
    try:
        with install_mirror.mirror(tmp_path_factory.mktemp("mirror")) as mirror:
            # The studio's own setting, as a studio would write it.
            named = {"torch": mirror.torch, "python": mirror.python}
            (data / "install.json").write_text(json.dumps({"device": "cpu", "mirror": named}))

            with krita.start(home=home, env={"VELATURA_ZIP": str(release_zip)}) as first:
                first.run("imports.py")

            with krita.start(home=home, env=environ) as second:
                test = "begins_and_is_cut_off"
                said = second.run("installing.py", test, env=nowhere, timeout=200).values
                second.kill()
            assert said["folder"] == str(server)
            assert "500 MB" in said["sentence"]
            assert not (data / "launch.json").exists()

            with krita.start(home=home, env=environ) as third:
                test = "goes_on_and_paints"
                said = third.run("installing.py", test, env=nowhere, timeout=700).values
            print(f"ready after {said['ready']:.0f} s, a kept layer after {said['layer']:.0f} s")
            assert said["name"] == "a house by a lake (Fill)"
            python = json.loads((data / "launch.json").read_text())["command"][0]
            assert Path(python).resolve().is_relative_to(server / "python")

            (receipt,) = server.glob(f"versions/*/{RECEIPT}")
            older = {**json.loads(receipt.read_text()), "version": "0.0.9", "wheel": "0" * 64}
            receipt.write_text(json.dumps(older))
            (data / "models").mkdir(exist_ok=True)
            (data / "models/mine.txt").write_text("mine")
            with krita.start(home=home, env=environ) as fourth:
                fourth.run("installing.py", "updates", env=nowhere, timeout=700)
                fourth.run("installing.py", "removes", env=nowhere, timeout=100)
            assert not server.exists()
            assert (data / "models/mine.txt").read_text() == "mine"
    finally:
        running = read_running(data)
        if running is not None:
            end(running.pid)
    stray = [path for path in (home / ".local/share").iterdir() if path.name == "uv"]
    assert stray == []
    assert os.listdir(home / ".local/share/krita/pykrita/velatura")
