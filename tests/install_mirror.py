"""A studio's mirror for the installer's tests, on this machine: an interpreter packed from the one that
runs the tests, and PyTorch as it lies here, so that no test downloads gigabytes.

All other packages come from the index that pip is set up with; uv is told by its environment.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from velatura.krita_plugin.install.settings import Mirror

_LEFT_OUT = {"__pycache__", "site-packages", "dist-packages", "test", "idlelib", "ensurepip"}
# What torch and torchvision bring besides themselves.
_TORCHS = ("torch", "torchgen", "functorch", "triton", "nvidia")
_FINDER = """
import importlib.machinery, sys

class Borrowed:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if path is None and name in {names!r}:
            return importlib.machinery.PathFinder.find_spec(name, [{folder!r}])

sys.meta_path.append(Borrowed)
"""


_CUT = threading.Event()


def cut(is_cut: bool) -> None:
    """Let the mirror hang up on everybody, or answer again."""
    (_CUT.set if is_cut else _CUT.clear)()


def pack_python(into: Path) -> Path:
    """Write the interpreter that runs this, and uv's list that names it; return the list."""
    into.mkdir(parents=True, exist_ok=True)
    major, minor, patch = platform.python_version_tuple()
    archive = into / f"cpython-{major}.{minor}.{patch}.tar.gz"

    def kept(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if _LEFT_OUT & set(entry.name.split("/")) else entry

    library = f"lib/python{major}.{minor}"
    with tarfile.open(archive, "w:gz", compresslevel=1, dereference=True) as tar:
        tar.add(Path(sys.executable).resolve(), f"python/bin/python{major}.{minor}")
        tar.add(Path(sys.base_prefix) / library, f"python/{library}", filter=kept)
    entry = {
        "name": "cpython",
        "arch": {"family": "x86_64", "variant": None},
        "os": "linux",
        "libc": "gnu",
        "major": int(major),
        "minor": int(minor),
        "patch": int(patch),
        "prerelease": "",
        "url": archive.as_uri(),
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "variant": None,
    }
    listed = into / "downloads.json"
    key = f"cpython-{major}.{minor}.{patch}-linux-x86_64-gnu"
    listed.write_text(json.dumps({key: entry}))
    return listed


def borrow_torch(into: Path) -> Path:
    """Write an index of torch and torchvision whose wheels hold nothing but the way to the packages
    of the environment that runs this; return its folder."""
    torch_needs = ("filelock", "typing-extensions", "sympy", "networkx", "jinja2", "fsspec")
    _borrow(into, "torch", _TORCHS, torch_needs)
    _borrow(into, "torchvision", ("torchvision",), ("torch", "numpy", "pillow"))
    return into


def _borrow(into: Path, name: str, modules: tuple[str, ...], needs: tuple[str, ...]) -> None:
    here = importlib.metadata.distribution(name)
    version = here.version.partition("+")[0] + "+borrowed"
    info = f"{name}-{version}.dist-info"
    finder = _FINDER.format(names=modules, folder=str(here.locate_file("")))
    files = {
        f"borrowed_{name}.py": finder,
        f"borrowed_{name}.pth": f"import borrowed_{name}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {need}\n" for need in needs),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    wheel = into / name / f"{name}-{version}-py3-none-any.whl"
    wheel.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


@contextlib.contextmanager
def mirror(folder: Path) -> Iterator[Mirror]:
    """What the installer's settings name: torch over HTTP, the interpreter from a folder."""
    listed = pack_python(folder / "python")
    index = borrow_torch(folder / "torch")

    class Quiet(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if _CUT.is_set():
                self.connection.close()
            else:
                super().do_GET()

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(index)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Mirror(torch=f"http://127.0.0.1:{server.server_port}/", python=str(listed))
    finally:
        server.shutdown()
        server.server_close()


def index_environment() -> dict[str, str]:
    """pip's indexes in uv's words; nothing of it is written anywhere."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True
    ).stdout
    found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def value(name: str) -> str:
        both = (found.get(f":env:.{name}"), found.get(f"global.{name}"))
        return next((x.strip("'\"") for x in both if x), "")

    environ = {
        "UV_DEFAULT_INDEX": value("index-url"),
        "UV_INDEX": value("extra-index-url").replace("\\n", " "),
        "UV_FIND_LINKS": value("find-links").replace("\\n", ",").replace(" ", ","),
        "SSL_CERT_FILE": value("cert"),
    }
    proxies = {k: v for k, v in os.environ.items() if k.lower().endswith("_proxy")}
    return {**{k: v for k, v in environ.items() if v}, **proxies}
