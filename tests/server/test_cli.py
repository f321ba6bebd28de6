"""The command line, as a person or the plugin runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from harness import is_alive, wait_until, worker_pid
from velatura.protocol.client import open_websocket
from velatura.protocol.discovery import read_launch, read_running, read_token
from websockets.sync.client import connect

VELATURA = [sys.executable, "-m", "velatura.server.cli"]


def velatura(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*VELATURA, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "VELATURA_HOME": str(folder), "COLUMNS": "200"},
    )


def test_serve_accepts_a_hello_before_its_worker_is_ready_and_ctrl_c_ends_both(tmp_path):
    process = subprocess.Popen(
        [*VELATURA, "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "VELATURA_HOME": str(tmp_path)},
    )
    try:
        running = wait_until(lambda: read_running(tmp_path))
        with open_websocket(connect, running.url, read_token(tmp_path), "test") as client:
            assert client.receive(20).worker == "starting"
        log = (tmp_path / "server.log").read_text()
        worker = int(log.split("worker process ")[1].split()[0])
    finally:
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert running.url in printed
    assert not is_alive(worker)
    assert read_running(tmp_path) is None


def test_a_refused_start_is_one_sentence_and_exit_status_1(tmp_path):
    done = velatura(tmp_path, "serve", "--host", "0.0.0.0")
    assert (done.returncode, done.stdout) == (1, "")
    assert "--listen-on-network" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_second_serve_says_who_listens(server):
    done = velatura(server.folder, "serve", "--port", "0")
    assert done.returncode == 1
    assert str(server.pid) in done.stderr
    assert server.url in done.stderr


def test_ps_shows_the_server_and_what_it_has_in_memory(server):
    with server.client() as client:
        pid = worker_pid(client)
    shown = velatura(server.folder, "ps").stdout
    for word in (server.url, str(server.pid), "ready", f"instant, process {pid}"):
        assert word in shown


def test_ps_without_a_server_says_what_to_type(tmp_path):
    done = velatura(tmp_path, "ps")
    assert (done.returncode, done.stderr) == (1, "No server runs. Start one: velatura serve\n")


def test_stop_ends_the_server_and_its_worker(server):
    with server.client() as client:
        worker = worker_pid(client)
    done = velatura(server.folder, "stop")
    assert (done.returncode, done.stdout) == (0, "The server has stopped.\n")
    assert server.process.wait(20) == 0
    assert not is_alive(worker)
    done = velatura(server.folder, "stop")
    assert (done.returncode, done.stderr) == (1, "No server runs.\n")


def test_stop_leaves_a_process_alone_that_is_no_server_of_ours(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (tmp_path / "server.json").write_text(f'{{"pid": {other.pid}, "host": "::1", "port": 9}}')
        (tmp_path / "token").write_text("secret\n")
        assert velatura(tmp_path, "stop").returncode == 1
        assert other.poll() is None
    finally:
        other.communicate(b"\n")


def test_list_asks_the_server_that_runs_and_looks_at_the_disk_otherwise(server, tmp_path):
    with server.client() as client:
        worker_pid(client)
    assert "instant" in velatura(server.folder, "list").stdout
    elsewhere = velatura(tmp_path / "elsewhere", "list")
    assert elsewhere.returncode == 0
    assert "instant" not in elsewhere.stdout


def test_plugin_install_writes_the_command_that_starts_the_server(tmp_path):
    krita = tmp_path / "krita"
    krita.mkdir()
    done = velatura(tmp_path, "plugin", "install", "--folder", str(krita))
    assert (done.returncode, done.stderr) == (0, "")
    assert (krita / "pykrita" / "velatura.desktop").is_file()
    launch = read_launch(tmp_path)
    assert launch is not None
    shown = subprocess.run([*launch.command, "--help"], capture_output=True, text=True, check=True)
    assert "Start the server" in shown.stdout


def test_plugin_build_makes_the_zip(tmp_path):
    done = velatura(tmp_path, "plugin", "build", str(tmp_path / "velatura.zip"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "velatura.zip").stat().st_size > 10_000
