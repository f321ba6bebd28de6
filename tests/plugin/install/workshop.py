"""What the installer's tests are made of: a payload with a small uv of our own, and a plan for it.

The small uv says and writes what the environment variable FAKE_UV tells it (JSON by command), so that
each fault can be had at will; the real uv is in test_real_uv.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

from velatura.krita_plugin.install.devices import BUILDS, CPU
from velatura.krita_plugin.install.machine import LINUX, WINDOWS, Machine
from velatura.krita_plugin.install.plan import Plan
from velatura.krita_plugin.install.release import read_release
from velatura.krita_plugin.install.settings import Mirror

NOTHING = {"ask": lambda command: "", "look": lambda folder: {}, "has": lambda path: False}
HERE = Machine(LINUX, "x86_64", **NOTHING)

_UV = """#!{python}
import json, os, pathlib, sys, time
told = json.loads(os.environ.get("FAKE_UV", "{{}}"))
def act(what):
    one = told.get(what, {{}})
    print(one.get("say", ""), flush=True)
    time.sleep(one.get("sleep", 0))
    if one.get("code"):
        sys.exit(one["code"])
cache = pathlib.Path(os.environ["UV_CACHE_DIR"])
cache.mkdir(parents=True, exist_ok=True)
if sys.argv[1] == "venv":
    act("venv")
    python = pathlib.Path(sys.argv[-1]) / "bin/python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(pathlib.Path(__file__).with_name("python-of-the-server").read_text())
    python.chmod(0o755)
else:
    print("Resolved 2 packages in 1ms\\nDownloading torch (10.0MiB)", flush=True)
    act("pip")
    (cache / "torch").write_text("whole")
    print(" Downloaded torch", flush=True)
"""
_PYTHON = """#!{python}
import json, os, sys, time
told = json.loads(os.environ.get("FAKE_UV", "{{}}")).get("picture", {{}})
time.sleep(told.get("sleep", 0))
if told.get("code"):
    print(told.get("say", ""))
    sys.exit(told["code"])
print(json.dumps({{"device": "a brush", "seconds": 1.5}}))
"""


def make_payload(folder: Path, version: str = "1.0.0", platform: str = "linux-x86_64") -> Path:
    """A payload whose uv is the small one; another version has another wheel."""
    folder.mkdir(parents=True)
    uv = _UV.format(python=sys.executable)
    # Where put_uv puts it, it looks beside itself: written into the script by its full path.
    python = folder / "python-of-the-server"
    python.write_text(_PYTHON.format(python=sys.executable))
    uv = uv.replace(
        'pathlib.Path(__file__).with_name("python-of-the-server")', f"pathlib.Path({str(python)!r})"
    )
    wheel = f"velatura-{version}-py3-none-any.whl"
    files = {"uv": uv.encode(), wheel: version.encode(), "requirements.txt": b"torch==2\n"}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    about = {
        "version": version,
        "platform": platform,
        "python": "3.11",
        "wheel": {"name": wheel, "sha256": hashlib.sha256(files[wheel]).hexdigest()},
        "uv": {"name": "uv", "sha256": hashlib.sha256(files["uv"]).hexdigest()},
    }
    (folder / "release.json").write_text(json.dumps(about))
    return folder


def plan_for(payload: Path, home: Path, system: str = LINUX, mirror: Mirror | None = None) -> Plan:
    build = next(x for x in BUILDS if x.device == CPU and x.system in (system, WINDOWS))
    release = read_release(payload)
    assert release is not None
    return Plan(release, payload, home, build, system, mirror or Mirror())


def fake(**told: dict) -> dict[str, str]:
    """The environment in which the small uv does this; what Krita would have set is in it too."""
    return {"PATH": os.environ["PATH"], "FAKE_UV": json.dumps(told), "PYTHONHOME": "/krita"}
