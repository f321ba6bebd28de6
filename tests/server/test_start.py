"""Whatever lies in the way, a server starts, or says in one sentence why it cannot."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import INSTANT_WORKER, generate, is_alive, paints, wait_until, worker_pid
from PIL import Image as PilImage
from PIL import PngImagePlugin
from velatura.protocol import messages as m
from velatura.protocol.discovery import read_running, read_token
from velatura.protocol.errors import RemoteError
from velatura.server.asking import AskError, connect_here
from velatura.server.settings import Settings, StartError, bytes_of, make_folder
from websockets.exceptions import ConnectionClosed
from wire import shake_hands

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="pipes and modes of POSIX")


def refused(folder: Path, **settings) -> str:
    """What a server says that does not start; fails when it starts, or does not end."""
    from harness import ServerProcess

    server = ServerProcess(folder, **settings)
    timer = threading.Timer(30, lambda: server.process and server.process.kill())
    timer.start()
    try:
        with pytest.raises(RuntimeError) as said:
            server.start()
    finally:
        timer.cancel()
        if server.process and server.process.poll() is None:
            server.stop()
    sentence = str(said.value)
    assert sentence, "it neither started nor ended"
    assert "Traceback" not in sentence
    assert "\n" not in sentence
    return sentence


@POSIX
@pytest.mark.parametrize("name", ["token", "server.json", "server.log", "server.lock"])
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_a_folder_or_a_pipe_in_the_place_of_a_file_is_named(tmp_path, name, make):
    make(tmp_path / name)
    assert f"{tmp_path / name} is not a file" in refused(tmp_path)


@pytest.mark.parametrize("name", ["token.part", "server.json.part"])
def test_a_folder_in_the_place_of_a_part_is_named(tmp_path, name):
    (tmp_path / name).mkdir()
    assert str(tmp_path / name.removesuffix(".part")) in refused(tmp_path)


@POSIX
@pytest.mark.parametrize("name", ["models.json", "launch.json"])
def test_a_pipe_in_the_place_of_what_is_only_read_holds_nobody(make_server, tmp_path, name):
    folder = tmp_path / "data"
    folder.mkdir()
    os.mkfifo(folder / name)
    assert paints(make_server(folder))


def test_a_data_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").touch()
    assert f"{tmp_path / 'file'} is a file" in refused(tmp_path / "file")
    assert "cannot be made" in refused(tmp_path / "file" / "below")


@pytest.mark.parametrize("name", ["results", "waiting"])
def test_a_file_in_the_place_of_a_folder_of_ours_is_told(tmp_path, name):
    (tmp_path / name).write_text("")
    assert f"{tmp_path / name} is a file" in refused(tmp_path)


@POSIX
@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_folder_of_another_user_is_refused_and_ones_own_without_modes_is_taken(tmp_path):
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from velatura.server import settings\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: settings.make_folder(Path(sys.argv[1]))\n"
        "except settings.StartError as error: print(error)\n"
        "else: print('taken')\n"
    )
    for parent in (tmp_path, *tmp_path.parents):
        if parent != Path("/tmp") and parent.is_relative_to("/tmp"):
            parent.chmod(0o755)

    def said(folder: Path, mode: int, owner: int) -> str:
        folder.mkdir()
        os.chown(folder, owner, owner)
        folder.chmod(mode)
        done = subprocess.run(
            [sys.executable, "-c", program, str(folder)], capture_output=True, text=True
        )
        return done.stdout.strip() + done.stderr

    assert "belongs to another user" in said(tmp_path / "roots", 0o777, 0)
    assert "belongs to another user" in said(tmp_path / "a-friends", 0o777, 1000)
    assert "cannot be written to" in said(tmp_path / "read-only", 0o755, 0)
    assert said(tmp_path / "mine", 0o777, 65534) == "taken"
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o700


def test_a_folder_on_a_disk_without_modes_is_taken(tmp_path, monkeypatch):
    def no_modes(*given: object, **more: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", no_modes)
    make_folder(tmp_path / "exfat")


@pytest.mark.parametrize(
    "text",
    ["x\n", "\n", "", "two-lines-of\na-token\n", "a blank inside it\n", "ein-sehr-ähnliches"],
)
def test_a_token_that_is_none_is_told_and_not_replaced(tmp_path, text):
    (tmp_path / "token").write_text(text, "utf-8")
    assert "must hold one line" in refused(tmp_path)
    assert (tmp_path / "token").read_text("utf-8") == text


@pytest.mark.parametrize("memory", [float("inf"), float("nan"), 1e9])
def test_an_amount_of_memory_that_is_none_is_told(memory):
    with pytest.raises(StartError, match="--memory"):
        bytes_of(memory)
    assert bytes_of(0.5) == 500_000_000


@pytest.mark.parametrize("host", ["no such host", "127.0.0.1.1", "x" * 300, "a..b"])
def test_a_host_that_is_none_is_told(tmp_path, host):
    assert "--port" in refused(tmp_path, host=host, listen_on_network=True)


def certificate(folder: Path, *more: str) -> dict[str, str]:
    made = {"certificate": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
    make = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 1 "
        f"-subj /CN=studio.example -keyout {made['key']} -out {made['certificate']}"
    )
    subprocess.run([*make.split(), *(more or ("-nodes",))], check=True, capture_output=True)
    return made


def test_a_key_with_a_password_is_told_and_not_asked_for(tmp_path):
    made = certificate(tmp_path, "-passout", "pass:secret")
    assert "without a password" in refused(tmp_path / "data", **made)


def test_a_certificate_that_cannot_be_read_is_told(tmp_path):
    made = certificate(tmp_path)
    Path(made["key"]).write_bytes(b"\xff\0")
    assert "PEM" in refused(tmp_path / "data", **made)


# --- the data folder goes ------------------------------------------------------------------------


def test_a_server_whose_folder_is_removed_ends_and_says_so(make_server):
    server = make_server()
    with server.client() as client:
        pid = worker_pid(client)
        shutil.rmtree(server.folder)
        assert server.process.wait(30) == 1
    assert f"{server.folder} was removed" in server.process.stderr.read()
    assert not is_alive(pid)
    assert not server.folder.exists()


def test_a_server_whose_folder_was_replaced_leaves_the_new_one_to_the_new_server(make_server):
    server = make_server()
    shutil.rmtree(server.folder)
    newer = make_server(server.folder)
    assert server.process.wait(30) == 1
    assert paints(newer)
    assert stat.S_IMODE(newer.folder.stat().st_mode) == 0o700
    assert newer.running.pid == newer.pid


def test_what_is_painted_while_the_folder_is_gone_makes_no_open_one(make_server, monkeypatch):
    server = make_server()
    with server.client() as client:
        request = generate()
        shutil.rmtree(server.folder)
        client.send(request)
        with contextlib.suppress(RemoteError, OSError, ConnectionClosed):
            client.until_final(request.job)
        assert not server.folder.exists()


# --- asked from the command line -----------------------------------------------------------------


def velatura(folder: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "velatura.server.cli", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "VELATURA_HOME": str(folder)},
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_a_server_with_its_own_certificate_is_asked_and_stopped(make_server, tmp_path):
    server = make_server(**certificate(tmp_path))
    code, said = velatura(server.folder, "ps")
    assert code == 0
    assert server.url in said
    assert velatura(server.folder, "stop") == (0, "The server has stopped.\n")
    assert server.process.wait(20) == 0


@pytest.fixture
def here(monkeypatch) -> Callable[[Path], str]:
    def ask(folder: Path) -> str:
        monkeypatch.setenv("VELATURA_HOME", str(folder))
        with pytest.raises(AskError) as said:
            connect_here()
        return str(said.value)

    return ask


def test_each_reason_why_a_server_cannot_be_asked_has_its_sentence(make_server, tmp_path, here):
    assert here(tmp_path / "nobody").startswith("No server runs.")
    server = make_server(most_connections=1, **certificate(tmp_path))
    trusted = read_running(server.folder)
    token = server.token
    (server.folder / "token").write_text("x" * 20 + "\n")
    assert "does not take the token" in here(server.folder)
    (server.folder / "token").unlink()
    assert "is missing or damaged" in here(server.folder)
    (server.folder / "token").write_text(token + "\n")
    certificate(tmp_path)  # another one in its place
    assert "shows another certificate" in here(server.folder)
    Path(trusted.certificate).unlink()
    assert "cannot be read" in here(server.folder)


def test_a_server_without_room_or_that_says_no_can_be_stopped(make_server):
    server = make_server(most_connections=1)
    with server.client():
        code, said = velatura(server.folder, "ps")
        assert code == 1
        assert "no room for one more connection" in said
        assert velatura(server.folder, "stop")[0] == 0
    server.start()
    shutil.rmtree(server.folder / "results")
    (server.folder / "results").write_text("")
    code, said = velatura(server.folder, "ps")
    assert "data folder" in said
    assert velatura(server.folder, "stop")[0] == 0


def test_a_server_that_is_gone_or_does_not_answer_is_told(make_server, here, monkeypatch):
    server = make_server()
    server.kill()
    assert here(server.folder).startswith("No server runs any more")
    from velatura.server import asking

    with socket.create_server(("127.0.0.1", server.port)):
        real = asking.open_websocket
        monkeypatch.setattr(asking, "open_websocket", lambda *given: real(*given, timeout=0.3))
        assert "does not answer" in here(server.folder)


# --- secrets and the terminal --------------------------------------------------------------------


def test_a_token_in_a_line_that_cannot_be_read_is_not_logged(server):
    for line in (
        "Authorization Bearer not-the-token-1",
        "X\x01: not-the-token-2",
        "not-the-token-3",
    ):
        shake_hands(server, line)
    wait_until(lambda: "handshake failed" in server.log)
    assert "not-the-token" not in server.log
    assert read_token(server.folder) not in server.log


TITLE = "\x1b]0;owned\x07\x9b31mred"


def test_no_text_of_a_picture_moves_the_terminals_cursor(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_itxt("parameters", f"a cat\t{TITLE}\nSteps: 5, Model: {TITLE}")
    path = tmp_path / f"{TITLE}.png"
    PilImage.new("RGB", (1, 1)).save(path, pnginfo=text)
    code, said = velatura(tmp_path, "show", str(path))
    assert code == 0
    assert "a cat\t\\x1b]0;owned\\x07" in said
    assert not {"\x1b", "\x07", "\x9b"} & set(said)
    assert "\x1b" not in velatura(tmp_path, "show", str(path) + ".png")[1]


@POSIX
def test_no_name_of_a_file_moves_the_terminals_cursor(tmp_path):
    folder = tmp_path / f"models{TITLE}"
    (folder / "loras").mkdir(parents=True)
    for name in (f"a{TITLE}.safetensors", f"loras/b{TITLE}.safetensors"):
        (folder / name).write_bytes(b"junk")
    home = tmp_path / "home"
    for words in (
        ("add", str(folder)),
        ("list",),
        ("show", TITLE),
        ("convert", TITLE),
        ("doctor",),
    ):
        _, said = velatura(home, *words)
        assert "\x9b" not in said, words
        assert "\x1b]" not in said, words
        assert "\x07" not in said, words


def test_a_worker_command_that_is_not_there_is_told_to_clients(make_server):
    server = make_server(worker=["/nowhere/python"])
    with server.client() as client:
        event = client.receive(20)
        while not (isinstance(event, m.Status) and event.worker == "failed"):
            event = client.receive(20)
        assert "/nowhere/python" in event.reason
    assert Settings(folder=server.folder).worker != INSTANT_WORKER
