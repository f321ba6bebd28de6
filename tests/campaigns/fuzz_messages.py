"""Mutated messages: each is a message or a documented refusal, in bounded memory, and nothing else.

    python tests/campaigns/fuzz_messages.py [--messages 1000000] [--out FILE.json]

Most go straight into the protocol; one in a thousand goes over a socket to a real server, which must
paint for another client afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import random
import resource
import struct
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / "server"), str(ROOT / "tests" / "campaigns")]

from harness import ServerProcess, generate, paints  # noqa: E402
from record import keep  # noqa: E402
from velatura.protocol import messages as m  # noqa: E402
from velatura.protocol.codec import decode, encode  # noqa: E402
from velatura.protocol.connection import CLIENT, SERVER, Connection  # noqa: E402
from velatura.protocol.errors import CODES, RemoteError  # noqa: E402
from velatura.protocol.pixels import Image  # noqa: E402
from velatura.protocol.region import Rect, Size  # noqa: E402
from websockets.exceptions import ConnectionClosed  # noqa: E402
from wire import blob, raw_socket  # noqa: E402

_SMALL = Image(3, 2, "rgba8", bytes(range(24)))
_GREY = Image(3, 2, "gray8", bytes(6))
JOB = str(uuid.UUID(int=7))
_CONTROL = m.Control(kind="canny", picture=_GREY)
_LIMITS = m.Limits(message_bytes=1 << 20, picture_pixels=1 << 20, jobs=4)
MESSAGES: tuple[m.Message, ...] = (
    m.Hello(version=1, client="fuzz"),
    m.Welcome(version=1, server="x", session="s", limits=_LIMITS, jobs=(JOB,)),
    m.Status(worker="ready", device="CPU", loaded=("a",)),
    generate(side=3, job=JOB, selection=Image(3, 3, "gray8", bytes(9))),
    generate(side=2, job=JOB, variants=3, prompt="a (cat:1.2) <lora:x:1>"),
    m.Annotate(job=JOB, kind="canny", picture=_SMALL),
    m.Cancel(job=JOB),
    m.Acknowledge(job=JOB),
    m.Progress(job=JOB, stage="painting", done=0.5),
    m.Preview(job=JOB, variant=0, step=1, area=Rect(0, 0, 3, 2), picture=_SMALL),
    m.Result(job=JOB, variant=0, seed=1, x=0, y=0, picture=_SMALL, recipe={"a": [1]}, last=True),
    m.ControlMap(job=JOB, kind="canny", picture=_GREY),
    m.Error(code="internal", message="No.", job=JOB),
    m.LiveOpen(job=JOB, model="x", area=Size(3, 2), controls=(_CONTROL,)),
    m.LiveSettings(job=JOB, prompt="x"),
    m.LiveFrame(job=JOB, revision=2, base=1, x=0, y=0, picture=_SMALL),
    m.LiveResult(job=JOB, revision=2, x=0, y=0, picture=_SMALL),
    m.LiveClose(job=JOB),
    m.LiveClosed(job=JOB),
)
_BLOBS = [
    b"".join(encode(message, encoding)) for message in MESSAGES for encoding in ("raw", "zlib")
]
_NASTY: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**53, 10**400, -(10**400), 1e308, 0.5, "", "x", "x" * 5000,
    "\0", "\x1b[2J", "\u2028", "\ud800", "../../x", [], {}, [[]], [None] * 100, {"a": {"b": []}},
    {"width": 1 << 40, "height": 1}, list(range(5000)), JOB, "generate", "canny",
)  # fmt: skip


def _flip(data: bytearray, dice: random.Random) -> bytes:
    for _ in range(dice.randrange(1, 6)):
        data[dice.randrange(len(data))] = dice.randrange(256)
    return bytes(data)


def _cut(data: bytearray, dice: random.Random) -> bytes:
    return bytes(data[: dice.randrange(len(data))])


def _grow(data: bytearray, dice: random.Random) -> bytes:
    at = dice.randrange(len(data) + 1)
    return bytes(data[:at]) + dice.randbytes(dice.randrange(1, 40)) + bytes(data[at:])


def _splice(data: bytearray, dice: random.Random) -> bytes:
    other = dice.choice(_BLOBS)
    return bytes(data[: dice.randrange(len(data))]) + other[dice.randrange(len(other)) :]


def _rewrite(data: bytearray, dice: random.Random) -> bytes:
    """Some values of the header become nasty ones; the framing stays right."""
    (length,) = struct.unpack_from("<I", data)
    header = json.loads(bytes(data[4 : 4 + length]))
    for _ in range(dice.randrange(1, 4)):
        place: Any = header
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = dice.choice(keys)
            if isinstance(place[key], (dict, list)) and dice.random() < 0.6:
                place = place[key]
                continue
            place[key] = copy.deepcopy(dice.choice(_NASTY))
            break
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return struct.pack("<I", len(text)) + text + bytes(data[4 + length :])


MUTATIONS: tuple[Callable[[bytearray, random.Random], bytes], ...] = (
    _flip, _cut, _grow, _splice, _rewrite, _rewrite,
)  # fmt: skip


def mutated(dice: random.Random) -> bytes:
    data = bytearray(dice.choice(_BLOBS))
    return dice.choice(MUTATIONS)(data, dice) if data else b""


def _conversation(role: str) -> Connection:
    """A connection in its middle, of either side."""
    connection = Connection(role)
    hello, welcome = MESSAGES[0], MESSAGES[1]
    if role == SERVER:
        connection.receive(b"".join(encode(hello)))
        connection.send(welcome)
    else:
        connection.send(hello)
        connection.receive(b"".join(encode(welcome)))
    return connection


def fuzz_protocol(count: int, seed: int = 1) -> dict[str, int]:
    """What became of ``count`` mutated messages; raises AssertionError for what is not documented."""
    dice, told = random.Random(seed), Counter[str]()
    sides = [_conversation(SERVER), _conversation(CLIENT)]
    for number in range(count):
        data = mutated(dice)
        try:
            message = sides[number % 2].receive(data) if number % 3 else decode(data)
        except RemoteError as error:
            told[error.code if len(error.message) < 2000 else "too long"] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}, message {number}: {data!r}") from error
        else:
            encode(message)  # what was taken can be handed on
            told["taken"] += 1
        if number % 1000 == 0:
            sides = [_conversation(SERVER), _conversation(CLIENT)]
    assert told.keys() <= {"taken", *CODES}, told
    return dict(told)


def fuzz_server(count: int, seed: int = 2) -> dict[str, int]:
    """``count`` mutated messages to a real server, two a connection where it goes on."""
    dice, told = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="velatura-fuzz-") as folder:
        server = ServerProcess(Path(folder) / "data", message_burst=1 << 20).start()
        try:
            sent = 0
            while sent < count:
                told["connections"] += 1
                with contextlib.suppress(ConnectionClosed, OSError), raw_socket(server) as opened:
                    if dice.random() < 0.9:
                        opened.send(blob(MESSAGES[0]))
                        opened.recv(20)
                    # One that ends the conversation hides those behind it.
                    for _ in range(min(2, count - sent)):
                        sent += 1
                        opened.send(mutated(dice))
                        with contextlib.suppress(TimeoutError):
                            opened.recv(0.02)
            assert paints(server)
            assert "Traceback" not in server.log, server.log[-3000:]
        finally:
            server.stop()
    return {**told, "sent": sent}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    began = time.monotonic()
    told: dict[str, Any] = {"messages": options.messages}
    told["protocol"] = fuzz_protocol(options.messages)
    told["memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    told["server"] = fuzz_server(max(1, options.messages // 1000))
    told["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(told, indent=1))
    if options.out:
        keep(options.out, told)
    return int(told["memory_mib"] > 512)


if __name__ == "__main__":
    sys.exit(main())
