"""What another window of Krita changes for a picture on its way, and what a closed one leaves."""

import threading
from urllib.parse import urlsplit

import kt
import paint
from exact import ACROSS, AREA, DOWN, HEIGHT, WIDTH, crop, inverted, muted, settled
from krita import Krita
from velatura.protocol.discovery import data_folder, read_running


def threads():
    return sum(thread.name.startswith("velatura") for thread in threading.enumerate())


def connections():
    """How many the server has, of the whole machine's (Linux)."""
    port = f":{urlsplit(read_running(data_folder()).url).port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    return sum(row[1].endswith(port) and row[3] == "01" for row in rows)


def comes_back_while_another_window_is_active():
    first = yield from kt.new_document(WIDTH, HEIGHT, muted(WIDTH, HEIGHT))
    yield from paint.ready()
    window = Krita.instance().activeWindow()
    before = kt.projection_bytes(first)
    kt.select(first, *AREA)
    yield paint.label("Fill")
    kt.find("soft_edge").setValue(0)
    paint.press("slow=1500 deep")
    here = kt.docker()
    yield kt.until(lambda: "step" in kt.find("stage").text(), 30, "the first step")
    other = Krita.instance().openWindow()
    other.qwindow().show()
    try:
        yield from activate(other)
        second = yield from kt.new_document(WIDTH, HEIGHT, muted(WIDTH, HEIGHT, 9))
        yield from paint.ready()
        untouched = kt.projection_bytes(second)
        assert kt.docker() is not here
        strip = kt.find("strip", inside=here)
        yield kt.until(lambda: "waits there" in kt.find("notice", inside=here).text(), 60, "it")
        assert strip.count() == 0, "it is no concern of the picture in front"
        assert kt.projection_bytes(second) == untouched
        assert len(paint.stack(second)) == len(paint.stack(first)) == 1

        # The other window's docker works on its own picture, and hears of its History.
        kt.select(second, *AREA)
        yield paint.label("Fill")
        paint.press("own")
        yield paint.waits(1)
        yield from paint.painted()
        Krita.instance().action("fill_selection_background_color").trigger()
        remark = kt.find("strip_remark")
        yield kt.until(lambda: remark.text().startswith("You painted here"), 10, "the remark")
        kt.click(kt.find("keep"))
        yield kt.until(lambda: len(paint.stack(second)) == 2, 20, "the layer")
        yield kt.until(lambda: kt.find("notice_frame").isVisible(), 10, "a sentence")
        kt.click(kt.find("dismiss"))
        assert len(paint.stack(first)) == 1

        yield from activate(window)
        assert kt.docker() is here
        if kt.find("notice_frame").isVisible():
            kt.click(kt.find("dismiss"))
        yield paint.layers(first, 2)
        yield from settled(first)
        after = kt.projection_bytes(first)
        inside = paint.mask_of(*AREA, size=(WIDTH, HEIGHT))
        assert kt.changed_outside(before, after, WIDTH, inside) == 0
        expected = inverted(crop(before, WIDTH, AREA), b"\xff" * (ACROSS * DOWN))
        assert crop(after, WIDTH, AREA) == expected
        assert len(paint.stack(second)) == 2
        second.setModified(False)
        second.close()
        yield 300
    finally:
        other.qwindow().close()
        kt.find("soft_edge", inside=here).setValue(-1)
    yield 500


def ends_what_a_closed_window_had():
    first = yield from kt.new_document(WIDTH, HEIGHT, muted(WIDTH, HEIGHT))
    yield from paint.ready()
    window = Krita.instance().activeWindow()
    before = threads(), connections()
    assert all(before), before
    for number in range(3):
        other = Krita.instance().openWindow()
        other.qwindow().show()
        yield from activate(other)
        second = yield from kt.new_document(WIDTH, HEIGHT, muted(WIDTH, HEIGHT, 9))
        yield from paint.ready()
        if number == 0:
            yield paint.label("Refine")
            paint.press("slow=1500 deep")
            yield kt.until(lambda: "step" in kt.find("stage").text(), 30, "the first step")
        elif number == 1:
            yield paint.waits(1)  # what the window before had asked for
            kt.click(kt.find("discard"))
        assert threads() > before[0], "its docker has no threads"
        assert connections() > before[1], "its docker has no connection"
        second.setModified(False)
        second.close()
        yield 300
        other.qwindow().close()
        yield from activate(window)
        yield kt.until(lambda: (threads(), connections()) == before, 30, f"{before} again")
    kt.select(first, *AREA)
    yield paint.label("Fill")
    paint.press("deep")
    yield paint.waits(1)
    yield from paint.painted()
    paint.empty_strip()


def activate(window):
    window.activate()
    window.qwindow().activateWindow()
    window.qwindow().raise_()
    yield kt.until(
        lambda: Krita.instance().activeWindow().qwindow() == window.qwindow(), 10, "that window"
    )
