"""What clients may cost: connections, file handles and memory are bounded, and the others work on."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from harness import ServerProcess, drain, generate, paints, wait_for, wait_until, worker_pid
from velatura.protocol import messages as m
from velatura.protocol.errors import RemoteError
from velatura.protocol.pixels import Image
from velatura.server.bounded import MOST_FRAGMENTS, Bounded, Budget, Room, Strangers
from velatura.server.lives import Lives
from velatura.server.spool import Spool
from websockets.asyncio.client import connect as connect_async
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from wire import bearer, blob, how_it_ends, raw_socket, shake_hands

MIB = 1 << 20


def handles_of(server: ServerProcess) -> int:
    return len(os.listdir(f"/proc/{server.pid}/fd"))


# --- connections ---------------------------------------------------------------------------------


def test_strangers_take_few_handles_and_keep_nobody_out(make_server):
    server = make_server()
    with server.client() as painter, contextlib.ExitStack() as sockets:
        pid = worker_pid(painter)
        before = handles_of(server)
        for _ in range(600):
            raw = sockets.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
            raw.sendall(b"GET / HTTP/1.1\r\n")
        assert handles_of(server) - before < 80
        assert paints(server)
        os.kill(pid, signal.SIGKILL)
        assert worker_pid(painter) != pid
        request = generate()
        painter.send(request)
        assert len(painter.until_final(request.job)) == 1


def test_a_stranger_who_says_nothing_is_closed_after_a_moment(make_server):
    server = make_server(handshake_timeout=0.3)
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        assert raw.recv(1) == b""


def test_strangers_in_a_tls_handshake_are_few_too(make_server, tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 "
        f"-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    )
    subprocess.run(make.split(), check=True, capture_output=True)
    server = make_server(certificate=str(certificate), key=str(key), handshake_timeout=2.0)
    before = handles_of(server)
    with contextlib.ExitStack() as sockets:
        for _ in range(300):
            sockets.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
        time.sleep(0.2)
        assert handles_of(server) - before < 80
    trust = ssl.create_default_context(cafile=certificate)

    def greeted() -> bool:
        with (
            contextlib.suppress(OSError, EOFError),
            raw_socket(server, ssl=trust, open_timeout=5) as opened,
        ):
            opened.send(blob(m.Hello(version=m.VERSION, client="test")))
            return b'"welcome"' in opened.recv(20)
        return False

    assert wait_until(greeted, 20)


def test_a_head_of_many_lines_is_not_read_to_its_end(shared_server):
    lines = [f"X-{number}: {'x' * 1000}" for number in range(100)]
    with contextlib.suppress(OSError):
        assert shake_hands(shared_server, bearer(shared_server), *lines)[0] == ""
    assert paints(shared_server)


@pytest.mark.parametrize(("soft", "most"), [(100, 4), (256, 96), (512, 96)])
def test_where_few_files_may_be_open_results_and_the_worker_keep_theirs(soft, most):
    program = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {soft}))\n"
        "from velatura.server.handles import RESERVED, connections_allowed\n"
        "allowed = connections_allowed(96)\n"
        f"assert allowed == 4 or allowed + RESERVED <= {soft}\n"
        "print(allowed)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == str(most), done.stderr


def test_the_limit_of_open_files_is_raised_as_far_as_the_system_lets_us():
    program = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (128, 1024))\n"
        "from velatura.server.handles import connections_allowed\n"
        "print(connections_allowed(96), resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["96", "1024"], done.stderr


# --- what one connection keeps in memory ---------------------------------------------------------


def frame(data: bytes, opcode: int, fin: bool) -> bytes:
    assert len(data) < 126
    return struct.pack("!BB4s", opcode | (0x80 if fin else 0), 0x80 | len(data), bytes(4)) + data


def test_a_message_of_very_many_empty_fragments_is_closed_with_1009(server):
    with raw_socket(server) as opened:
        opened.send(blob(m.Hello(version=m.VERSION, client="test")))
        before = server.memory()
        with contextlib.suppress(OSError):
            opened.socket.sendall(frame(b"", 2, False))
            for _ in range(200):
                opened.socket.sendall(frame(b"", 0, False) * 10_000)
        assert how_it_ends(opened)[0] == 1009
        assert server.memory() - before < 64 * MIB
    assert MOST_FRAGMENTS * 256 * 1024 >= 512 * MIB  # what our own clients send
    assert paints(server)


def test_pings_whose_answers_nobody_fetches_are_not_answered_for_ever(server):
    lines = (
        "GET / HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
        bearer(server),
        "\r\n",
    )
    hello = blob(m.Hello(version=m.VERSION, client="test"))
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        raw.sendall("\r\n".join(lines).encode())
        assert b" 101 " in raw.recv(4096)
        raw.sendall(frame(hello, 2, True))
        before = server.memory()
        pings, sent = frame(b"x" * 125, 9, True) * 1000, 0
        with contextlib.suppress(OSError):
            while sent < 2000:
                raw.sendall(pings)
                sent += 1
        assert sent < 2000
        assert server.memory() - before < 64 * MIB
    assert paints(server)


def test_whoever_asks_on_and_on_and_reads_no_answer_is_closed(make_server):
    server = make_server(message_burst=100_000, messages_per_second=1e6)
    with raw_socket(server, max_queue=1) as opened:
        opened.send(blob(m.Hello(version=m.VERSION, client="test")))
        wrong = blob(generate(side=1)).replace(b'"steps":4', b'"steps":0')
        before = server.memory()
        with contextlib.suppress(ConnectionClosed, OSError):
            for _ in range(30_000):
                opened.send(wrong)
        assert server.memory() - before < 64 * MIB
    assert paints(server)


def bounded_server(budget: Budget):
    """A server that reads nothing, whose connections share ``budget``."""
    strangers = Strangers(most=4, seconds=5.0, encrypted=False)

    async def handle(connection: Bounded) -> None:
        connection.is_known()
        await connection.wait_closed()

    make = functools.partial(Bounded, strangers=strangers, budget=budget)
    return serve(handle, "127.0.0.1", 0, create_connection=make, compression=None, max_size=None)


async def push(client, data: bytes, times: int) -> int:
    """How many of ``times`` messages were taken within a moment."""
    sent = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            for _ in range(times):
                await client.send(data)
                sent += 1
    return sent


def test_a_connection_is_read_no_further_than_its_share_and_goes_on_when_it_has_caught_up():
    budget = Budget(each=2 * MIB, all=100 * MIB)

    async def test() -> None:
        async with bounded_server(budget) as server:
            port = server.sockets[0].getsockname()[1]
            async with connect_async(f"ws://127.0.0.1:{port}", proxy=None) as client:
                assert await push(client, bytes(MIB // 2), 200) < 60
                assert budget.used < 3 * MIB
                (connection,) = server.connections
                before = budget.used
                for _ in range(5):
                    await connection.recv()
                    connection.taken()
                await asyncio.sleep(0.2)
                assert budget.used <= max(before, 3 * MIB)
                client.transport.abort()
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        await connection.recv()
                        connection.taken()
            assert budget.used == 0

    asyncio.run(test())


def test_the_connection_that_goes_beyond_what_all_may_keep_is_closed_and_comes_again():
    budget = Budget(each=10 * MIB, all=3 * MIB)

    async def test() -> None:
        async with bounded_server(budget) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with connect_async(url, proxy=None) as first:
                assert await push(first, bytes(2 * MIB), 1) == 1
                await asyncio.sleep(0.2)
                async with connect_async(url, proxy=None) as second:
                    with contextlib.suppress(ConnectionClosed):
                        await push(second, bytes(2 * MIB), 1)
                    with pytest.raises(ConnectionClosed) as closed:
                        async with asyncio.timeout(10):
                            await second.recv()
                    assert closed.value.rcvd.code == 4429
                await asyncio.sleep(0.1)
                assert budget.used < 3 * MIB
                async with connect_async(url, proxy=None) as third:
                    assert await push(third, bytes(1000), 1) == 1

    asyncio.run(test())


def test_answers_are_read_from_the_disk_as_there_is_room_and_each_has_its_turn():
    async def test() -> None:
        room, held, most = Room(100), 0, 0

        async def send(size: int) -> None:
            nonlocal held, most
            async with room.hold(size):
                held += size
                most = max(most, held)
                await asyncio.sleep(0.005)
                held -= size

        async with asyncio.timeout(20):
            await asyncio.gather(*(send(size) for size in (40, 60, 30, 100, 70, 5) * 4))
            stuck = asyncio.create_task(send(80))
            await asyncio.sleep(0)
            stuck.cancel()
            async with room.hold(500):  # larger than all of it: when it is empty
                pass
        assert most <= 100

    asyncio.run(test())


# --- waiting jobs --------------------------------------------------------------------------------


def noisy(side: int, **more) -> m.Generate:
    picture = Image(side, side, "rgba8", os.urandom(4 * side * side))
    return generate(side=side, surroundings=picture, **more)


def test_the_pixels_of_waiting_jobs_are_on_disk_and_idle_memory_returns(make_server):
    server = make_server()
    with server.client() as client:
        worker_pid(client)
        blocker = generate("slow=400", steps=150)
        client.send(blocker)
        wait_for(client, lambda event: isinstance(event, m.Progress) and event.step > 0)
        before = server.memory()
        jobs = [noisy(1024, previews=False) for _ in range(50)]  # 4 MiB each
        for request in jobs:
            client.send(request)
        waiting = server.folder / "waiting"
        wait_until(lambda: len(list(waiting.iterdir())) == len(jobs))
        # What was freed goes back once it is quiet: 200 MiB wait.
        wait_until(lambda: server.memory() - before < 64 * MIB, 30)
        client.send(m.Cancel(job=jobs[3].job))
        client.send(m.Cancel(job=blocker.job))
        done = {}
        while len(done) < len(jobs):
            event = client.receive(60)
            if isinstance(event, m.Error) or (isinstance(event, m.Result) and event.last):
                done[event.job] = event
                client.send(m.Acknowledge(job=event.job))
        for request in jobs:
            if request is jobs[3]:
                assert done[request.job].code == "cancelled"
            elif request.job in done:
                assert isinstance(done[request.job], m.Result)
        assert len([e for e in done.values() if isinstance(e, m.Result)]) >= len(jobs) - 2
        wait_until(lambda: not list(waiting.iterdir()))
        wait_until(lambda: server.memory() - before < 64 * MIB, 30)


def test_a_job_whose_pixels_are_gone_from_the_disk_ends_with_storage_and_the_next_is_painted(
    make_server,
):
    server = make_server()
    with server.client() as client:
        blocker = generate("slow=20", steps=100)
        client.send(blocker)
        wait_for(client, lambda event: isinstance(event, m.Progress) and event.step > 0)
        lost, kept = noisy(128), noisy(128)
        client.send(lost)
        client.send(kept)
        waiting = server.folder / "waiting"
        wait_until(lambda: len(list(waiting.iterdir())) == 2)
        next(waiting.glob(f"*.{lost.job}.msg")).unlink()
        client.send(m.Cancel(job=blocker.job))
        with pytest.raises(RemoteError) as failed:
            client.until_final(lost.job)
        assert failed.value.code == "storage"
        assert len(client.until_final(kept.job)) == 1
    assert paints(server)


def test_a_disk_that_takes_no_waiting_job_is_told_and_nothing_else_is_lost(make_server):
    server = make_server()
    with server.client() as client:
        blocker = generate("slow=20", steps=30)
        client.send(blocker)
        wait_for(client, lambda event: isinstance(event, m.Progress) and event.step > 0)
        (server.folder / "waiting").rmdir()
        refused, small = noisy(128), generate(side=8)
        client.send(refused)
        client.send(small)
        with pytest.raises(RemoteError) as failed:
            client.until_final(refused.job)
        assert failed.value.code == "storage"
        assert len(client.until_final(blocker.job)) == 1
        assert len(client.until_final(small.job)) == 1


def test_waiting_pixels_have_a_share_for_each_session_and_for_all(tmp_path: Path):
    spool = Spool(tmp_path / "waiting", most_bytes=150_000, session_bytes=100_000)
    first = noisy(128)  # 64 KiB
    assert not spool.full("a", 65_536)
    spool.add("a", spool.write("a", first))
    assert spool.full("a", 65_536).startswith("The pictures of your waiting jobs fill")
    assert not spool.full("b", 65_536)
    spool.add("b", spool.write("b", noisy(128)))
    assert spool.full("c", 65_536).endswith("try again later.")
    spool.drop("a", first.job)
    assert not spool.full("c", 65_536)
    assert len(list((tmp_path / "waiting").iterdir())) == 1
    assert not list(Spool(tmp_path / "waiting", most_bytes=1)._folder.iterdir())


# --- live ----------------------------------------------------------------------------------------


def test_frames_for_a_worker_that_stands_still_wait_at_their_client(make_server):
    server = make_server()
    with server.client() as client, server.client() as other:
        pid = worker_pid(client)
        job, side = generate().job, 512
        client.send(m.LiveOpen(job=job, model="instant", area=m.Size(side, side)))
        picture = Image(side, side, "rgba8", bytes(4 * side * side))
        sent = []

        def send() -> None:
            for number in range(400):
                frame = m.LiveFrame(job=job, revision=number + 1, base=0, x=0, y=0, picture=picture)
                client.send(frame)
                sent.append(number)

        os.kill(pid, signal.SIGSTOP)
        try:
            before = server.memory()
            painter = threading.Thread(target=send, daemon=True)
            painter.start()
            painter.join(4.0)
            assert painter.is_alive(), "the frames did not wait"
            assert len(sent) < 150
            assert server.memory() - before < 160 * MIB
            assert drain(other)  # the gateway itself does not stand still
        finally:
            os.kill(pid, signal.SIGCONT)
        painter.join(30.0)
        assert len(sent) == 400
        wait_for(client, lambda e: isinstance(e, m.LiveResult) and e.revision == 400)
    assert paints(server)


def test_canvases_that_wait_for_the_worker_hold_few_pixels():
    lives = Lives(most_pixels=1 << 26, most_waiting=100_000)
    control = m.Control(kind="canny", picture=Image(128, 128, "rgba8", bytes(1 << 16)))
    area = m.Size(128, 128)
    first, second, third = (generate().job for _ in range(3))
    assert not lives.open("a", m.LiveOpen(job=first, model="x", area=area, controls=(control,)))
    (told,) = lives.open("b", m.LiveOpen(job=second, model="x", area=area, controls=(control,)))
    assert told.message.code == "rate_limited"
    assert not lives.open("c", m.LiveOpen(job=third, model="x", area=area))
    (told,) = lives.change("c", m.LiveSettings(job=third, controls=(control,)))
    assert (told.message.code, told.message.job) == ("rate_limited", third)
    assert third not in lives
    assert not lives.change("a", m.LiveSettings(job=first, controls=(control,)))
