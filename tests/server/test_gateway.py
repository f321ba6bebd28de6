"""The door: who comes in, what the first words are, and how a conversation ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import subprocess
import sys

import pytest
from harness import generate, new_job, wait_for
from velatura.protocol import messages as m
from velatura.protocol.client import SUBPROTOCOL, TOKEN_SUBPROTOCOL, Client
from velatura.protocol.errors import CLOSE_CODES, RemoteError
from velatura.server import gateway
from velatura.server.outbox import Outbox
from velatura.server.settings import Settings, StartError
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from wire import bearer, blob, closes_with, how_it_ends, raw_socket, shake_hands

# --- the handshake -----------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "wrong", "Ärger"])
def test_a_missing_or_wrong_token_is_401(shared_server, token):
    lines = [f"Authorization: Bearer {token}"] if token else []
    assert shake_hands(shared_server, *lines)[0] == "401"


def test_the_token_in_the_url_does_not_count(shared_server):
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{shared_server.url}/?token={shared_server.token}", proxy=None)
    assert refused.value.response.status_code == 401


def test_a_wrong_token_beside_the_right_one_is_401(shared_server):
    line = f"Sec-WebSocket-Protocol: {SUBPROTOCOL}, {TOKEN_SUBPROTOCOL}wrong"
    assert shake_hands(shared_server, bearer(shared_server), line)[0] == "401"


def test_the_token_as_a_subprotocol_opens_and_is_not_sent_back(shared_server):
    names = f"{SUBPROTOCOL}, {TOKEN_SUBPROTOCOL}{shared_server.token}"
    status, headers = shake_hands(shared_server, f"Sec-WebSocket-Protocol: {names}")
    assert status == "101"
    assert f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n" in headers + "\r\n"
    assert shared_server.token not in headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1", "file://"])
def test_web_pages_are_403_before_anything_else(shared_server, origin):
    status, _ = shake_hands(shared_server, bearer(shared_server), f"Origin: {origin}")
    assert status == "403"


def test_an_allowed_origin_is_matched_as_a_whole(make_server):
    server = make_server(origins=["https://trusted.example"])
    for origin, status in (
        ("https://trusted.example", "101"),
        ("https://trusted.example.evil.com", "403"),
        ("https://trusted.example:8080", "403"),
        ("http://trusted.example", "403"),
        ("null", "403"),
    ):
        assert shake_hands(server, bearer(server), f"Origin: {origin}")[0] == status, origin


def test_two_origins_are_403(shared_server):
    lines = ("Origin: https://a.example", "Origin: https://b.example")
    assert shake_hands(shared_server, bearer(shared_server), *lines)[0] == "403"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "127.0.0.2"])
def test_loopback_names_are_ours(shared_server, name):
    host = f"{name}:{shared_server.port}"
    assert shake_hands(shared_server, bearer(shared_server), host=host)[0] == "101"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:{port}",
        "localhost.evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "192.168.1.2:{port}",
        "0.0.0.0:{port}",
        "127.0.0.1:1",
        "127.0.0.1",
        "evil@127.0.0.1:{port}",
        "127.0.0.1:{port}/x",
        "127.0.0.1:port",
        "[::1",
    ],
)
def test_any_other_host_is_403(shared_server, host):
    host = host.format(port=shared_server.port)
    assert shake_hands(shared_server, bearer(shared_server), host=host)[0] == "403"


def test_on_a_network_addresses_and_our_own_name_are_ours_and_rebound_names_are_not(make_server):
    server = make_server(host="0.0.0.0", listen_on_network=True)
    assert server.running.host == "127.0.0.1"
    answers = [
        shake_hands(server, bearer(server), host=f"{name}:{server.port}")[0]
        for name in ("192.168.1.2", socket.gethostname(), "evil.example")
    ]
    assert answers == ["101", "101", "403"]
    assert shake_hands(server)[0] == "401"


def test_listening_beyond_loopback_needs_the_flag_and_says_so(tmp_path):
    for host in ("0.0.0.0", "192.168.1.2", "::", "studio.example"):
        with pytest.raises(StartError, match="--listen-on-network"):
            Settings(folder=tmp_path, host=host)


def test_tls_is_offered(make_server, tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 "
        "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 "
        f"-keyout {key} -out {certificate}"
    )
    subprocess.run(make.split(), check=True, capture_output=True)
    server = make_server(certificate=str(certificate), key=str(key))
    assert server.url.startswith("wss://")
    trust = ssl.create_default_context(cafile=certificate)
    with raw_socket(server, ssl=trust) as opened:
        opened.send(blob(m.Hello(version=m.VERSION, client="test")))
        assert b'"welcome"' in opened.recv(20)
    with pytest.raises(RuntimeError, match="PEM"):
        make_server(tmp_path / "other", certificate=str(key), key=str(certificate))


def test_more_connections_than_allowed_are_503_and_the_others_work(make_server):
    server = make_server(most_connections=2)
    with server.client() as first, server.client():
        assert shake_hands(server, bearer(server))[0] == "503"
        request = generate()
        first.send(request)
        assert len(first.until_final(request.job)) == 1


def test_compression_is_never_agreed_on(shared_server):
    line = "Sec-WebSocket-Extensions: permessage-deflate"
    status, headers = shake_hands(shared_server, bearer(shared_server), line)
    assert status == "101"
    assert "deflate" not in headers


# --- the hello ---------------------------------------------------------------------------------


def test_the_welcome_says_the_limits_and_gives_a_session(shared_server):
    with shared_server.client() as one, shared_server.client() as other:
        assert one.welcome.version == m.VERSION
        assert one.welcome.limits.jobs == 64
        assert len(one.welcome.session) >= 43
        assert one.welcome.session != other.welcome.session
        assert one.welcome.jobs == ()


def test_status_and_catalogue_follow_the_welcome(shared_server):
    with shared_server.client() as client:
        wait_for(client, lambda event: isinstance(event, m.Catalogue))
    with shared_server.client() as client:
        assert {type(client.receive(20)), type(client.receive(20))} == {m.Status, m.Catalogue}


@pytest.mark.parametrize(("version", "what"), [(m.VERSION + 1, "server"), (65535, "server")])
def test_another_version_gets_a_sentence_that_says_what_to_update(shared_server, version, what):
    with raw_socket(shared_server) as opened:
        opened.send(blob(m.Hello(version=version, client="from the future")))
        code, (answer,) = how_it_ends(opened)
    assert code == 4409
    assert b'"code":"version"' in answer
    assert f"update the {what}".encode() in answer


def test_silence_is_closed_with_4408(make_server):
    server = make_server(hello_timeout=0.3)
    with raw_socket(server) as opened:
        assert how_it_ends(opened)[0] == 4408


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("hello", 4400),
        (b"", 4400),
        (b"\xff" * 100, 4413),
        (struct.pack("<I", 2) + b"[]", 4400),
        (struct.pack("<I", 16) + b'{"type":"nobody"', 4400),
        (blob(m.Cancel(job=new_job())), 4400),
        (blob(m.Welcome(version=1, server="x", session="", limits=Settings.limits)), 4400),
    ],
)
def test_anything_but_a_hello_is_closed_with_its_code(shared_server, said, code):
    with raw_socket(shared_server) as opened:
        opened.send(said)
        ended, (answer,) = how_it_ends(opened)
    assert ended == code
    assert b'"type":"error"' in answer


def test_a_session_that_is_not_ours_is_closed_with_4404(shared_server):
    with pytest.raises(RemoteError) as refused:
        shared_server.client(session="guessed")
    assert refused.value.code == "unknown_session"


def test_the_encoding_is_the_first_of_the_clients_that_we_know(shared_server):
    with Client(raw_socket(shared_server), "test", encodings=("brotli", "zlib", "raw")) as client:
        assert client.welcome.encoding == "zlib"
        request = generate(side=300)
        client.send(request)
        (result,) = client.until_final(request.job)
        assert bytes(result.picture.data) == bytes((5, 0, 77, 255)) * 300 * 300
    with Client(raw_socket(shared_server), "test", encodings=("brotli",)) as client:
        assert client.welcome.encoding == "raw"


# --- afterwards --------------------------------------------------------------------------------


def test_too_many_messages_are_closed_with_4429(make_server):
    server = make_server(messages_per_second=1.0, message_burst=5)
    with raw_socket(server) as opened:
        opened.send(blob(m.Hello(version=m.VERSION, client="eager")))
        for _ in range(20):
            try:
                opened.send(blob(m.Cancel(job=new_job())))
            except ConnectionClosed:
                break
        code, said = how_it_ends(opened)
    assert code == 4429
    assert b'"rate_limited"' in said[-1]


def test_too_many_jobs_are_answered_each_and_the_conversation_goes_on(make_server):
    server = make_server(limits={"message_bytes": 1 << 20, "picture_pixels": 1 << 16, "jobs": 2})
    with server.client() as client:
        requests = [generate("slow=20") for _ in range(3)]
        for request in requests:
            client.send(request)
        refused = wait_for(client, lambda event: isinstance(event, m.Error))
        assert (refused.code, refused.job) == ("rate_limited", requests[2].job)
        assert len(client.until_final(requests[0].job)) == 1
        assert len(client.until_final(requests[1].job)) == 1


def test_a_message_beyond_the_limit_is_closed_with_1009(make_server):
    server = make_server(limits={"message_bytes": 5000, "picture_pixels": 1 << 20, "jobs": 2})
    with server.client() as client:
        # The server may close before all of it is sent.
        with contextlib.suppress(ConnectionClosed):
            client.send(generate(side=100))
        assert closes_with(client) == 1009


def test_a_newer_connection_takes_the_session_and_the_older_is_closed_with_4410(shared_server):
    with shared_server.client() as older:
        session = older.welcome.session
        with shared_server.client(session) as newer:
            assert closes_with(older) == 4410
            request = generate()
            newer.send(request)
            assert len(newer.until_final(request.job)) == 1


def test_every_close_code_of_ours_is_documented():
    ours = {
        value for value in vars(gateway).values() if type(value) is int and 4000 <= value < 5000
    }
    assert ours == set(CLOSE_CODES)


def test_the_server_never_imports_torch(make_server):
    server = make_server()
    with server.client() as client:
        request = generate()
        client.send(request)
        client.until_final(request.job)
    assert server.stop().strip() == "False"


def test_the_command_line_serves_without_the_heavy_packages():
    program = (
        "import sys; from velatura.server import cli, app; "
        "print(*(sys.modules.keys() & {'torch', 'numpy', 'diffusers', 'PIL', 'rich'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


# --- the outbox --------------------------------------------------------------------------------


def emptied(outbox: Outbox) -> list[m.Message]:
    async def empty():
        messages = []
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0.05):
                    messages.append(await outbox.get())
        return messages

    return asyncio.run(empty())


def test_the_last_word_is_said_and_nothing_after_it():
    outbox, end = Outbox(), m.Error(code="malformed", message="No.")
    outbox.put(m.Status(worker="ready"))
    outbox.finish(end)
    outbox.put(m.Status(worker="failed"))
    assert not outbox.finished
    assert emptied(outbox) == [end]
    assert outbox.finished


def preview(job: str, step: int) -> m.Preview:
    picture = m.Image(1, 1, "rgba8", bytes(4))
    return m.Preview(job=job, variant=0, step=step, area=m.Rect(0, 0, 1, 1), picture=picture)


def test_the_newest_preview_progress_and_status_win():
    outbox, one, other = Outbox(), new_job(), new_job()
    progress = m.Progress(job=one, stage="painting", step=9)
    for step in range(100):
        outbox.put(preview(one, step))
        outbox.put(preview(other, step))
        outbox.put(m.Progress(job=one, stage="painting", step=step))
        outbox.put(m.Status(worker="starting"))
    outbox.put(progress)
    outbox.put(m.Status(worker="ready"))
    assert emptied(outbox) == [
        preview(one, 99),
        preview(other, 99),
        progress,
        m.Status(worker="ready"),
    ]


def test_nothing_about_a_job_follows_its_final_answer_and_errors_are_all_kept():
    outbox, job = Outbox(), new_job()
    errors = [m.Error(code="internal", message=f"{i}.") for i in range(3)]
    outbox.put(m.Progress(job=job, stage="painting"))
    outbox.put(preview(job, 1))
    for error in errors:
        outbox.put(error)
    final = m.Error(code="internal", message="At last.", job=job)
    outbox.put(final)
    assert emptied(outbox) == [*errors, final]
