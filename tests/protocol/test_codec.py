"""Every message survives the wire; anything else is a documented error and nothing more."""

from __future__ import annotations

import io
import json
import math
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from velatura.protocol import codec
from velatura.protocol import messages as m
from velatura.protocol.codec import FRAGMENT, decode, encode, fragments
from velatura.protocol.errors import CODES, LocalError, RemoteError
from velatura.protocol.pixels import FORMATS, Image
from velatura.protocol.region import Rect, Size
from velatura.protocol.stream import read_blob, write_blob

from .strategies import MESSAGES, any_message, new_job


def blob_of(message: m.Message, encoding: str = "raw") -> bytes:
    return b"".join(encode(message, encoding))


def test_there_is_a_strategy_for_every_message():
    assert set(MESSAGES) == set(m.TYPES.values())


@pytest.mark.parametrize("cls", m.TYPES.values(), ids=m.TYPES)
@pytest.mark.parametrize("encoding", ["raw", "zlib"])
def test_a_message_survives_the_wire(cls, encoding):
    @given(MESSAGES[cls])
    @settings(max_examples=25, deadline=None)
    def survives(message):
        assert decode(blob_of(message, encoding)) == message

    survives()


@given(any_message, st.data())
@settings(max_examples=400, deadline=None)
def test_mutated_bytes_give_a_message_or_a_remote_error_and_nothing_else(message, data):
    blob = bytearray(blob_of(message, data.draw(st.sampled_from(("raw", "zlib")))))
    for _ in range(data.draw(st.integers(1, 4))):
        match data.draw(st.integers(0, 3)):
            case 0:
                blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
            case 1:
                del blob[data.draw(st.integers(0, len(blob) - 1)) :]
            case 2:
                at = data.draw(st.integers(0, len(blob)))
                blob[at:at] = data.draw(st.binary(max_size=8))
            case 3:
                at = data.draw(st.integers(0, len(blob) - 1))
                del blob[at : at + data.draw(st.integers(1, 8))]
        if not blob:
            break
    try:
        decode(blob)
        code, sentence = None, "."
    except RemoteError as error:
        code, sentence = error.code, error.message
    assert code is None or code in CODES
    assert sentence.endswith(".")


@given(any_message, st.data())
@settings(max_examples=200, deadline=None)
def test_a_truncated_message_is_malformed(message, data):
    blob = blob_of(message)
    with pytest.raises(RemoteError) as caught:
        decode(blob[: data.draw(st.integers(0, len(blob) - 1))])
    assert caught.value.code == "malformed"


@given(st.binary(max_size=200))
def test_junk_is_refused(junk):
    with pytest.raises(RemoteError):
        decode(junk)


def header_blob(header: str, rest: bytes = b"") -> bytes:
    head = header.encode()
    return struct.pack("<I", len(head)) + head + rest


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("[" * 10_000 + "]" * 10_000, "malformed"),
        ('{"type": "cancel", "job": ' + "[" * 100_000, "malformed"),
        ("[]", "malformed"),
        ('{"type": "nonsense"}', "unknown_type"),
        ('{"type": ["cancel"]}', "unknown_type"),
        ('{"type": "cancel"}', "invalid_field"),
        ('{"type": "cancel", "job": "../../etc"}', "invalid_field"),
        ('{"type": "live_close", "job": NaN}', "malformed"),
        ('{"type": "cancel", "pictures": 3}', "malformed"),
        ('{"type": "cancel", "pictures": [{}]}', "malformed"),
        ('{"type": "hello", "version": 1' + "0" * 5000 + ', "client": "x"}', "malformed"),
        ('{"type": "hello", "version": 1e400, "client": "x"}', "invalid_field"),
        ('{"type": "hello", "version": true, "client": "x"}', "invalid_field"),
        ('{"type": "hello", "version": 1, "client": "\\ud800"}', "invalid_field"),
        ('{"type": "hello", "version": 1, "client": "a\\r\\nSet-Cookie: b"}', "invalid_field"),
    ],
)
def test_a_hostile_header_gets_its_code(header, code):
    with pytest.raises(RemoteError) as caught:
        decode(header_blob(header))
    assert caught.value.code == code


def altered(message: m.Message, old: bytes, new: bytes) -> bytes:
    """The message's blob with one piece of its header replaced."""
    head, *pixels = encode(message)
    assert old in head
    return header_blob(bytes(head[4:]).replace(old, new).decode(), b"".join(pixels))


def picture_blob(entry: dict, pixels: bytes) -> bytes:
    header = {
        "type": "annotate",
        "job": new_job(),
        "kind": "line",
        "picture": 0,
        "pictures": [entry],
    }
    return header_blob(json.dumps(header), pixels)


ENTRY = {"width": 4, "height": 4, "format": "rgba8", "encoding": "raw", "bytes": 64}


@pytest.mark.parametrize(
    ("change", "pixels", "code"),
    [
        ({"bytes": 63}, bytes(63), "malformed"),
        ({"bytes": 65}, bytes(65), "malformed"),
        ({}, bytes(63), "malformed"),
        ({}, bytes(65), "malformed"),
        ({"width": 0, "bytes": 0}, b"", "malformed"),
        ({"width": -4}, bytes(64), "malformed"),
        ({"width": 2.0}, bytes(64), "malformed"),
        ({"width": 32768, "height": 32768}, bytes(64), "too_large"),
        ({"format": "png"}, bytes(64), "malformed"),
        ({"format": ["rgba8"]}, bytes(64), "malformed"),
        ({"encoding": "gzip"}, bytes(64), "malformed"),
        ({"encoding": "zlib"}, bytes(64), "malformed"),
        (
            {"encoding": "zlib", "bytes": len(zlib.compress(bytes(65)))},
            zlib.compress(bytes(65)),
            "malformed",
        ),
        (
            {"encoding": "zlib", "bytes": len(zlib.compress(bytes(63)))},
            zlib.compress(bytes(63)),
            "malformed",
        ),
        # The right pixels, and something behind their stream.
        (
            {"encoding": "zlib", "bytes": len(zlib.compress(bytes(64))) + 1},
            zlib.compress(bytes(64)) + b"\0",
            "malformed",
        ),
    ],
)
def test_a_picture_whose_sizes_do_not_add_up_is_refused(change, pixels, code):
    with pytest.raises(RemoteError) as caught:
        decode(picture_blob({**ENTRY, **change}, pixels))
    assert caught.value.code == code


def test_a_zlib_bomb_is_never_unpacked():
    import tracemalloc

    bomb = zlib.compress(bytes(200 << 20), 9)
    blob = picture_blob({**ENTRY, "encoding": "zlib", "bytes": len(bomb)}, bomb)
    tracemalloc.start()
    try:
        with pytest.raises(RemoteError):
            decode(blob)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def generate(**change) -> m.Generate:
    picture = Image(4, 2, "rgba8", bytes(32))
    values = {
        "job": new_job(),
        "action": "fill",
        "model": "starter",
        "canvas": Size(10, 10),
        "region": Rect(1, 1, 4, 2),
        "surroundings": picture,
    }
    return m.Generate(**{**values, **change})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("strength", math.nan),
        ("strength", math.inf),
        ("strength", -0.1),
        ("strength", 1.0001),
        ("strength", "1"),
        ("strength", True),
        ("guidance", -1),
        ("guidance", 10**400),
        ("steps", 0),
        ("steps", 151),
        ("steps", 2.5),
        ("variants", 9),
        ("seed", -1),
        ("seed", 2**32),
        ("prompt", "x" * 20_001),
        ("prompt", "bell \x07"),
        ("prompt", None),
        ("sampler", ""),
        ("model", "two\nlines"),
        ("action", "delete"),
        ("job", "not-a-uuid"),
        ("soft_edge", -1),
        ("controls", (3,)),
    ],
)
def test_a_number_out_of_range_names_its_field(field, value):
    with pytest.raises(LocalError) as caught:
        generate(**{field: value})
    assert caught.value.field.startswith(field)
    assert caught.value.code == "invalid_field"
    assert str(caught.value).startswith(field)


def test_pictures_must_have_the_region_s_size():
    with pytest.raises(LocalError, match="selection must have the region's size, 4 x 2"):
        generate(selection=Image(2, 4, "gray8", bytes(8)))
    with pytest.raises(LocalError, match=r"controls\[0\]\.picture must have"):
        generate(controls=(m.Control(kind="line", picture=Image(1, 1, "gray8", b"x")),))
    with pytest.raises(LocalError, match="region must lie inside the canvas"):
        generate(canvas=Size(4, 4))


def test_the_remote_error_of_a_bad_job_names_the_job():
    request = generate()
    blob = altered(request, b'"steps":20', b'"steps":99999')
    with pytest.raises(RemoteError) as caught:
        decode(blob)
    assert (caught.value.job, caught.value.field) == (request.job, "steps")
    assert not caught.value.fatal


def test_nested_fields_are_named_with_their_path():
    control = m.Control(kind="line", picture=None, weight=1.5)
    blob = altered(generate(controls=(control,)), b'"weight":1.5', b'"weight":9.5')
    with pytest.raises(RemoteError) as caught:
        decode(blob)
    assert caught.value.field == "controls[0].weight"


def test_unknown_keys_of_a_newer_peer_are_passed_over():
    job = new_job()
    assert decode(header_blob(json.dumps({"type": "cancel", "job": job, "why": "x"}))) == m.Cancel(
        job=job
    )


def test_raw_pixels_are_sent_and_received_without_a_copy():
    pixels = bytearray(64)
    message = m.Annotate(
        job=new_job(), kind="line", picture=Image(4, 4, "rgba8", memoryview(pixels))
    )
    parts = encode(message)
    pixels[0] = 7
    blob = b"".join(parts)
    assert blob[-64] == 7
    received = decode(blob)
    assert isinstance(received, m.Annotate)
    assert received.picture.data.obj is blob


def test_fragments_are_small_and_add_up():
    picture = Image(512, 512, "rgba8", bytes(range(256)) * 4096)
    parts = encode(m.Annotate(job=new_job(), kind="line", picture=picture))
    pieces = list(fragments(parts))
    assert max(map(len, pieces)) <= FRAGMENT
    assert b"".join(pieces) == b"".join(parts)


def test_an_image_of_the_wrong_length_is_refused():
    for pixel_format, size in FORMATS.items():
        with pytest.raises(LocalError, match=f"has {4 * size} bytes, not 3"):
            Image(2, 2, pixel_format, b"abc")


@given(st.lists(any_message, max_size=4), st.integers(1, 64))
@settings(max_examples=40, deadline=None)
def test_messages_survive_a_byte_stream_in_any_pieces(sent, piece):
    written = io.BytesIO()

    def write(room: memoryview) -> int:
        return written.write(room[:piece])

    for message in sent:
        write_blob(write, encode(message))
    stream = written.getbuffer()
    position = 0

    def readinto(room: memoryview) -> int:
        nonlocal position
        taken = stream[position : position + min(len(room), piece)]
        room[: len(taken)] = taken
        position += len(taken)
        return len(taken)

    received = []
    while (blob := read_blob(readinto)) is not None:
        received.append(decode(blob))
    assert received == sent


def test_a_stream_that_ends_inside_a_message_is_malformed():
    written = io.BytesIO()
    write_blob(written.write, encode(m.Cancel(job=new_job())))
    data = written.getvalue()
    for length in range(1, len(data)):
        with pytest.raises(RemoteError) as caught:
            read_blob(io.BytesIO(data[:length]).readinto)
        assert caught.value.code == "malformed"
    with pytest.raises(RemoteError) as caught:
        read_blob(io.BytesIO(b"\xff" * 8).readinto)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("encoding", ["raw", "zlib"])
def test_all_pictures_of_a_message_together_are_bounded_before_they_are_unpacked(
    encoding, monkeypatch
):
    monkeypatch.setattr(codec, "LARGEST_PICTURES", 100)
    picture = Image(4, 4, "rgba8", bytes(64))

    def message(*pictures):
        controls = tuple(m.Control(kind="canny", picture=one) for one in pictures)
        return b"".join(encode(m.LiveSettings(job=new_job(), controls=controls), encoding))

    assert len(decode(message(picture)).controls) == 1
    with pytest.raises(RemoteError, match="unpacked") as refused:
        decode(message(picture, picture))
    assert refused.value.code == "too_large"
