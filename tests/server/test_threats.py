"""The threats and faults of a server on a painter's machine, over real sockets and processes.

The handshake's own (web pages, rebinding, tokens, network) are in test_gateway.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
import zlib

import pytest
from harness import (
    ServerProcess,
    generate,
    paints,
    wait_for,
    wait_until,
)
from velatura.protocol import messages as m
from velatura.protocol.client import Client
from velatura.protocol.codec import LARGEST_HEADER
from velatura.protocol.errors import RemoteError
from velatura.server.log import escape
from websockets.exceptions import ConnectionClosed
from wire import bearer, blob, how_it_ends, raw_socket, shake_hands


def greeted(server: ServerProcess):
    """A raw socket after its welcome, to send what the client would refuse to."""
    opened = raw_socket(server)
    opened.send(blob(m.Hello(version=m.VERSION, client="test")))
    assert b'"welcome"' in opened.recv(20)
    return opened


def with_header(changes: dict, message: m.Message | None = None, pictures: bytes = b"") -> bytes:
    """The message's bytes with some of its header changed."""
    whole = blob(message or generate())
    (length,) = struct.unpack_from("<I", whole)
    header = {**json.loads(whole[4 : 4 + length]), **changes}
    text = json.dumps(header).encode()
    return struct.pack("<I", len(text)) + text + (pictures or whole[4 + length :])


def error_in(said: list[str | bytes]) -> dict:
    found = [json.loads(one[4:]) for one in said if b'"type":"error"' in one]
    assert len(found) == 1
    return found[0]


# --- secrets -----------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has ACLs instead")
def test_the_token_is_its_owners_alone(server):
    assert stat.S_IMODE((server.folder / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE((server.folder / "server.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((server.folder / "results").stat().st_mode) == 0o700


def test_a_folder_that_was_open_to_others_is_closed(make_server, tmp_path):
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    (folder / "token").write_text("an-older-token\n")
    (folder / "token").chmod(0o644)
    server = make_server(folder)
    assert server.token == "an-older-token"
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_token_is_in_no_log_answer_or_printed_line(server):
    secrets = {server.token}
    _, headers = shake_hands(server, "Authorization: Bearer " + server.token + "x")
    _, found = shake_hands(server, bearer(server), "Origin: https://evil.example/" + server.token)
    with server.client() as client:
        secrets.add(client.welcome.session)
        request = generate(server.token, model=server.token)
        client.send(request)
        with pytest.raises(RemoteError) as refused:
            client.until_final(request.job)
        assert refused.value.code == "unknown_model"
    printed = server.stop()
    for secret in secrets:
        assert secret not in server.log + headers + found + printed
    assert all(server.token not in path.read_text() for path in server.folder.rglob("*.json"))


def test_doctor_names_everything_but_the_token(server):
    done = subprocess.run(
        [sys.executable, "-m", "velatura.server.cli", "doctor"],
        capture_output=True,
        text=True,
        env={**os.environ, "VELATURA_HOME": str(server.folder), "CUDA_VISIBLE_DEVICES": ""},
        check=True,
    )
    assert server.token not in done.stdout + done.stderr
    assert str(server.folder) in done.stdout
    assert f"process {server.pid}" in done.stdout


def test_nobody_sees_or_cancels_another_sessions_jobs(shared_server):
    with shared_server.client() as owner, shared_server.client() as other:
        request = generate("slow=20", steps=10)
        owner.send(request)
        wait_for(owner, lambda event: isinstance(event, m.Progress) and event.step > 0)
        other.send(m.Cancel(job=request.job))
        other.send(m.Acknowledge(job=request.job))
        own = generate(job=request.job, seed=9)
        other.send(own)
        (theirs,) = owner.until_final(request.job)
        (mine,) = other.until_final(own.job)
        assert (theirs.seed, mine.seed) == (5, 9)


def test_a_session_does_not_outlive_its_token(make_server):
    server = make_server()
    with server.client() as client:
        session = client.welcome.session
    server.stop()
    (server.folder / "token").unlink()
    server.start()
    with pytest.raises(RemoteError) as refused:
        server.client(session)
    assert refused.value.code == "unknown_session"


# --- what is sent --------------------------------------------------------------------------------


def test_no_message_of_a_client_names_a_file_or_an_address():
    theirs = {name for name, kind in m.TYPES.items() if kind.sender == m.CLIENT}
    assert theirs == {
        "hello",
        "generate",
        "annotate",
        "cancel",
        "acknowledge",
        "live_open",
        "live_settings",
        "live_frame",
        "live_close",
    }
    fields = {name for kind in theirs for name in m.TYPES[kind].__dataclass_fields__}
    assert not [name for name in fields if re.search("path|file|folder|url|address", name)]


@pytest.mark.parametrize("size", [-1, 1, 1 << 20])
def test_a_declared_size_that_is_not_the_pictures_is_closed_with_4400(shared_server, size):
    entry = {"width": 16, "height": 16, "format": "rgba8", "encoding": "raw", "bytes": 1024 + size}
    with greeted(shared_server) as opened:
        opened.send(with_header({"pictures": [entry]}))
        code, said = how_it_ends(opened)
    assert code == 4400
    assert error_in(said)["code"] == "malformed"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a.png", "file:///etc/passwd", "data:,x"])
def test_an_image_url_is_refused_and_nothing_is_fetched(shared_server, url):
    with greeted(shared_server) as opened:
        opened.send(with_header({"surroundings": url}))
        said = wait_for_error(opened)
    assert (said["code"], said["field"]) == ("invalid_field", "surroundings")


def wait_for_error(opened) -> dict:
    while b'"type":"error"' not in (one := opened.recv(20)):
        pass
    return json.loads(one[4:])


def test_a_pixel_bomb_is_refused_before_it_is_unpacked(server):
    before = server.memory()
    bomb = zlib.compress(bytes(64 << 20), 9)
    for width, height, code in ((32768, 32768, 4413), (16, 16, 4400), (1 << 40, 1, 4400)):
        entry = {
            "width": width,
            "height": height,
            "format": "rgba8",
            "encoding": "zlib",
            "bytes": len(bomb),
        }
        with greeted(server) as opened:
            opened.send(with_header({"pictures": [entry]}, pictures=bomb))
            assert how_it_ends(opened)[0] == code
    assert server.memory() - before < 32 << 20
    assert paints(server)


@pytest.mark.parametrize("change", [{"format": "png"}, {"encoding": "webp"}, {"format": ["rgba8"]}])
def test_formats_that_were_not_agreed_on_are_closed_with_4400(shared_server, change):
    entry = {"width": 16, "height": 16, "format": "rgba8", "encoding": "raw", "bytes": 1024}
    with greeted(shared_server) as opened:
        opened.send(with_header({"pictures": [{**entry, **change}]}))
        assert how_it_ends(opened)[0] == 4400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", "x" * 100_000),
        ("prompt", "null \0 byte"),
        ("prompt", "escape \x1b[2J"),
        ("model", "two\r\nlines"),
        ("model", "two\nlines"),
        ("steps", 0),
        ("steps", -3),
        ("steps", 10**30),
        ("steps", 2.5),
        ("strength", 1.01),
        ("strength", True),
        ("strength", "1"),
        ("guidance", -1),
        ("seed", -1),
        ("variants", 0),
        ("variants", 9),
        ("region", {"x": 0, "y": 0, "width": 10**9, "height": 1}),
        ("controls", [{}] * 9),
        ("action", "delete"),
    ],
)
def test_a_wrong_field_is_named_and_the_conversation_goes_on(shared_server, field, value):
    request = generate()
    with greeted(shared_server) as opened:
        opened.send(with_header({field: value}, request))
        said = wait_for_error(opened)
        assert said["code"] == "invalid_field"
        assert said["job"] == request.job
        assert said["field"].startswith(field)
        assert said["message"].startswith(field)
        opened.send(blob(request))
        while b'"last":true' not in opened.recv(20):
            pass


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b'{"type":"generate","strength":NaN}', 4400),
        (b'{"type":"generate","strength":Infinity}', 4400),
        (b"[" * 10_000, 4400),
        (b'{"a":' * 10_000, 4400),
        (b"\xff\xfe", 4400),
        (b'{"type":"shutdown"}', 4400),
        (b" " * (LARGEST_HEADER + 1), 4413),
    ],
)
def test_what_is_not_a_message_is_closed_with_its_code(shared_server, text, code):
    with greeted(shared_server) as opened:
        opened.send(struct.pack("<I", len(text)) + text)
        ended, said = how_it_ends(opened)
    assert ended == code
    assert error_in(said)["message"].endswith(".")


def test_a_name_cannot_write_lines_into_the_log(server):
    name = "guest 2026-01-01 00:00:00 INFO \x85 \x9b31m"
    with raw_socket(server) as opened:
        opened.send(blob(m.Hello(version=m.VERSION, client=name)))
        opened.recv(20)
    shake_hands(server, "Origin: a\x1b[31mred\x85", bearer(server))
    lines = server.log.splitlines()
    # A record, or a line of a traceback.
    assert all(re.match(r"\d{4}-\d\d-\d\d |    ", line) for line in lines)
    assert r"INFO \x85 \x9b31m is here" in server.log
    assert "\x1b" not in server.log
    assert escape("a\r\nb\x1b\u2028\ud800") == "a\\r\\nb\\x1b\\u2028\\ud800"


# --- how it is sent ------------------------------------------------------------------------------


def test_half_a_message_junk_and_silence_leave_the_others_alone(make_server):
    server = make_server(hello_timeout=1.0)
    with contextlib.ExitStack() as sockets:
        silent = sockets.enter_context(raw_socket(server))
        for first in (b"", b"GET / HT", b"\x16\x03\x01\x02\x00", os.urandom(200), b"\n" * 99):
            raw = sockets.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            raw.sendall(first)
        half = sockets.enter_context(greeted(server))
        threading.Thread(target=stall, args=(half,), daemon=True).start()
        assert paints(server)
        assert how_it_ends(silent)[0] == 4408
        assert paints(server)


def stall(opened) -> None:
    """Send the first fragment of a message, and never the next."""

    def pieces():
        yield blob(generate())[:100]
        time.sleep(3600)

    with contextlib.suppress(ConnectionClosed):
        opened.send(pieces())


def test_a_thousand_connections_are_bounded_and_the_painter_keeps_working(make_server):
    server = make_server(most_connections=8, hello_timeout=2.0)
    with server.client() as painter, contextlib.ExitStack() as sockets:
        for _ in range(400):
            raw = socket.create_connection(("127.0.0.1", server.port), 10)
            sockets.enter_context(raw)
        statuses = [shake_hands(server, bearer(server))[0] for _ in range(5)]
        assert set(statuses) <= {"101", "503"}
        request = generate()
        painter.send(request)
        assert len(painter.until_final(request.job)) == 1
        assert server.memory() < 200 << 20
    assert paints(server)


def test_a_slow_reader_gets_the_newest_previews_and_all_results_in_bounded_memory(make_server):
    server = make_server()
    with Client(raw_socket(server, max_queue=1, max_size=None), "slow reader") as slow:
        steps, variants = 150, 8
        request = generate("large", steps=steps, variants=variants, side=512)
        slow.send(request)
        stored = f"results/*/{request.job}/*.msg"
        wait_until(lambda: len([*server.folder.glob(stored)]) == variants, 60)  # all is painted
        # 1200 previews of 256 KiB and 8 results of 1 MiB wait or were dropped by now.
        assert server.memory() < 150 << 20
        previews = []
        results = slow.until_final(
            request.job, lambda event: previews.append(event) if isinstance(event, m.Preview) else 0
        )
    assert [result.variant for result in results] == list(range(variants))
    order = [(preview.variant, preview.step) for preview in previews]
    assert order == sorted(order)
    assert len(order) < steps * variants / 2
