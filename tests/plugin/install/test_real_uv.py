"""The release's own uv and wheel: a server is installed where no Python is, and it paints.

The same steps for Windows and macOS are resolved here with the real packages of those systems; that
they run there is not shown (docs/install.md lists it).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import install_mirror
import pytest
from velatura.krita_plugin.install.devices import BUILDS
from velatura.krita_plugin.install.installed import go_back, uninstall, used
from velatura.krita_plugin.install.installer import Installer
from velatura.krita_plugin.install.plan import Plan
from velatura.krita_plugin.install.release import read_release
from velatura.krita_plugin.install.troubles import Trouble

ROOT = Path(__file__).parents[3]
CPU = next(build for build in BUILDS if (build.device, build.system) == ("cpu", "linux"))
_FOR_HERE = ("UV_INDEX", "UV_FIND_LINKS")
pytestmark = pytest.mark.slow


def _release():
    spec = importlib.util.spec_from_file_location("release", ROOT / "tools/release.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["release"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def payload(tmp_path_factory):
    release = _release()
    folder = tmp_path_factory.mktemp("release")
    (zipped,) = release.build(folder, release.PLATFORMS[:1], cache=ROOT / ".cache/uv")
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(folder)
    return folder / "velatura/payload"


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    with install_mirror.mirror(tmp_path_factory.mktemp("mirror")) as found:
        yield found


def bare(home: Path) -> dict[str, str]:
    """No Python in reach, and a user's folder of its own."""
    home.mkdir(parents=True, exist_ok=True)
    return {
        "HOME": str(home),
        "PATH": str(home / "nothing"),
        "VELATURA_HOME": str(home / "velatura"),
        "OMP_NUM_THREADS": "1",
        **install_mirror.index_environment(),
    }


def test_a_server_is_installed_without_a_python_and_paints_and_goes_again(
    payload, studio, tmp_path
):
    home, data = tmp_path / "ein Ört # 100 %" / "server", tmp_path / "data"
    plan = Plan(read_release(payload), payload, home, CPU, "linux", studio)
    environ = bare(tmp_path / "user")
    new = Installer(plan, data, environ=environ).install()
    assert "CPU" in new.receipt.paints_on
    assert new.receipt.seconds > 0
    python = Path(new.command[0]).resolve()
    assert python.is_relative_to(home / "python"), "uv's own interpreter, not this machine's"
    assert list((tmp_path / "user").rglob("*")) == [], "nothing in the user's own folder"
    log = (home / "install.log").read_text()
    for value in ("UV_INDEX", "UV_DEFAULT_INDEX"):
        assert environ.get(value, "no index") not in log

    # An update whose wheel is damaged inside: it is refused, and the server that was there starts.
    doctored = tmp_path / "doctored"
    doctored.mkdir()
    for path in payload.iterdir():
        if path.suffix != ".whl" and path.name != "release.json":
            (doctored / path.name).hardlink_to(path)
    _without_gateway(payload, doctored, plan.release.wheel.name)
    bad = Plan(read_release(doctored), doctored, home, CPU, "linux", studio)
    with pytest.raises(Trouble, match="The new server does not start"):
        Installer(bad, data, environ=environ).install()
    assert used(data, home) == new
    assert go_back(data, home) is None

    assert uninstall(data, home, ("models", "styles", "results", "settings")) == []
    assert not home.exists()


def _without_gateway(payload: Path, into: Path, wheel: str) -> None:
    """The same release with a server that cannot start."""
    with zipfile.ZipFile(payload / wheel) as old, zipfile.ZipFile(into / wheel, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "velatura/server/gateway.py":
                data = b"raise SystemExit('The new server is broken.')\n"
            elif name.endswith("/RECORD"):
                lines = data.decode().splitlines()
                data = "\n".join(x for x in lines if "/gateway.py," not in x).encode()
            new.writestr(name, data)
    about = json.loads((payload / "release.json").read_text())
    about["wheel"]["sha256"] = hashlib.sha256((into / wheel).read_bytes()).hexdigest()
    (into / "release.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("platform", "environ"),
    [("windows", {}), ("aarch64-apple-darwin", {"MACOSX_DEPLOYMENT_TARGET": "14.0"})],
)
def test_the_pinned_versions_have_wheels_for_each_system(payload, tmp_path, platform, environ):
    uv = tmp_path / "uv"
    uv.write_bytes((payload / "uv").read_bytes())
    uv.chmod(0o755)
    wheel = payload / read_release(payload).wheel.name
    # Extra indexes may hold this machine's own wheels alone.
    reach = {k: v for k, v in bare(tmp_path / "user").items() if k not in _FOR_HERE}
    (tmp_path / "wanted.txt").write_text(f"velatura @ {wheel.as_uri()}\n")
    done = subprocess.run(
        [
            *(str(uv), "pip", "compile", "--quiet", "--format", "pylock.toml"),
            *("--python", sys.executable, "--python-platform", platform),
            *("--python-version", read_release(payload).python, "--only-binary", ":all:"),
            *("--constraint", str(payload / "requirements.txt")),
            *("--output-file", str(tmp_path / "pylock.toml"), str(tmp_path / "wanted.txt")),
        ],
        env={**os.environ, **reach, "UV_NO_CONFIG": "1", **environ},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    packages = tomllib.loads((tmp_path / "pylock.toml").read_text())["packages"]
    for package in packages:
        if package["name"] != "velatura":
            assert package["wheels"], package["name"]
            assert all(wheel["hashes"]["sha256"] for wheel in package["wheels"])
    pins = dict(
        line.lower().replace("_", "-").split("==")
        for line in (payload / "requirements.txt").read_text().splitlines()
        if "==" in line
    )
    found = {package["name"]: package["version"] for package in packages}
    assert {n: v for n, v in found.items() if n in pins and pins[n] != v} == {}
    assert found["torch"] == pins["torch"]
