"""Servers that come and go, and a Krita that crashes."""

import json
import os
import signal
import socket
import threading

import kt
import paint


def starts_the_server_from_the_docker():
    kt.docker()
    yield paint.light("No server", 20)
    kt.click(kt.find("press"))
    assert paint.notice().startswith("Open or create"), paint.notice()
    doc = yield from kt.new_document(paint.SIDE, paint.SIDE, kt.noise(paint.SIDE, paint.SIDE))
    yield kt.until(lambda: not paint.notice(), 5, "the sentence to leave with what it said")
    # One press starts the server, and is painted when it can be.
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    before = kt.projection_bytes(doc)
    kt.click(kt.find("press"))
    assert paint.notice().startswith("The server is starting"), paint.notice()
    yield kt.until(lambda: kt.find("keep").isVisible(), 180, "the picture of that press")
    empty_handed = kt.projection_bytes(doc) == before
    assert empty_handed, "nothing is applied by itself"
    kt.click(kt.find("discard"))
    yield from paint.ready()
    assert not paint.notice(), paint.notice()
    assert not kt.find("start_server").isVisible()
    before = kt.projection_bytes(doc)
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    paint.press()
    yield paint.layers(doc, 2)
    yield from paint.painted()
    yield from paint.changed_only_inside(doc, before, paint.mask_of(*paint.AREA))


def finds_a_server_that_starts_later():
    """The test starts it when the file appears."""
    yield from kt.new_document(paint.SIDE, paint.SIDE, kt.noise(paint.SIDE, paint.SIDE))
    kt.docker()
    yield paint.light("No server", 20)
    with open(os.environ["KT_SIGNAL"], "w"):
        pass
    yield from paint.ready()


def kill_server():
    with open(os.path.join(os.environ["VELATURA_HOME"], "server.json"), encoding="utf-8") as file:
        os.kill(json.load(file)["pid"], signal.SIGKILL)


def survives_writing_to_a_server_that_is_gone():
    """On each thread that writes to one: the link's, and the one in which websockets answers pings."""
    yield from paint.picture()
    told = {}

    def write():
        for thread in threading.enumerate():
            with open(f"/proc/self/task/{thread.native_id}/status", encoding="utf-8") as file:
                told[thread.name] = next(line for line in file if line.startswith("SigBlk"))
        ours, theirs = socket.socketpair()
        theirs.close()
        try:
            ours.send(b"a stroke")
        except BrokenPipeError as error:
            told["error"] = error
        ours.close()

    line = kt.docker().link._line
    line.put(write)
    yield kt.until(lambda: "error" in told, 10, "the error")
    blocked = {name for name, mask in told.items() if name != "error" and _blocks_pipe(mask)}
    assert {"velatura-link", "velatura-listen"} <= blocked, told
    # websockets' own: what is neither Krita's nor named by us.
    others = set(told) - blocked - {"error", "MainThread", "velatura-work"}
    assert not others, told


def _blocks_pipe(mask):
    return bool(int(mask.split()[1], 16) >> (signal.SIGPIPE - 1) & 1)


def survives_a_killed_server():
    doc = yield from paint.picture()
    before = kt.projection_bytes(doc)
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    kt.find("steps").setValue(150)
    kt.find("variants").setValue(2)
    paint.press()
    strip = kt.find("strip")
    yield kt.until(lambda: strip.count() == 1, 60, "the first variant")
    kill_server()
    yield paint.light("No server", 20)
    assert kt.find("cancel").isVisible()
    kt.click(kt.find("start_server"))
    yield kt.until(lambda: kt.find("notice_frame").isVisible(), 30, "the server's sentence")
    assert "finished variants are kept" in kt.find("notice").text()
    kt.click(kt.find("retry"))
    yield kt.until(lambda: strip.count() == 2, 120, "the second variant")
    yield from paint.painted()
    assert kt.projection_bytes(doc) == before
    for count in (2, 3):
        if count == 3:
            # After a Keep, nothing is chosen.
            paint.tap(strip, 0)
        kt.click(kt.find("keep"))
        yield kt.until(lambda count=count: len(paint.stack(doc)) == count, 10, f"{count} layers")
    assert not kt.find("keep").isVisible()
    yield from paint.changed_only_inside(doc, before, paint.mask_of(*paint.AREA))


def survives_a_server_killed_before_anything_was_finished():
    doc = yield from paint.picture()
    before = kt.projection_bytes(doc)
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    kt.find("steps").setValue(150)
    paint.press()
    yield kt.until(lambda: "step" in kt.find("stage").text(), 60, "the first step")
    kill_server()
    yield paint.light("No server", 20)
    assert kt.find("stage").text() == "Goes on as soon as the server is back"
    kt.click(kt.find("start_server"))
    yield paint.layers(doc, 2)
    yield from paint.painted()
    yield 500
    assert len(paint.stack(doc)) == 2
    yield from paint.changed_only_inside(doc, before, paint.mask_of(*paint.AREA))


def asks_and_is_killed():
    """Krita's own crash, first half: the test kills Krita when this returns."""
    yield from paint.picture()
    yield paint.label("Refine")
    kt.find("steps").setValue(100)
    paint.press("before the crash")
    yield kt.until(lambda: "step" in kt.find("stage").text(), 60, "the first step")


def finds_it_again():
    """Second half, in a new Krita."""
    kt.docker()
    yield paint.light("Ready")
    strip = kt.find("strip")
    yield kt.until(lambda: strip.count() == 1, 60, "the picture in the strip")
    doc = yield from kt.new_document(paint.SIDE, paint.SIDE, kt.noise(paint.SIDE, paint.SIDE))
    yield paint.layers(doc, 2)
    assert not kt.find("keep").isVisible()
    yield kt.until(kt.find("past").isVisible, 10, "the history")
    paint.fold("past", is_open=True)
    yield kt.until(lambda: kt.find("past_list").count() == 1, 10, "the picture in the history")
