"""The link against a real server process with the instant engine. Run by test_in_qt.py."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from harness import ServerProcess, generate
from velatura.krita_plugin import state
from velatura.krita_plugin.launch import server_environment
from velatura.krita_plugin.session_file import SessionFile
from velatura.protocol import messages as m
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect, Size


def jobs_of(folder):
    """What the server still keeps for somebody, asked over a connection of its own."""
    results = folder / "results"
    return [path.name for path in results.glob("*/*") if path.is_dir()]


def test_it_says_that_there_is_no_server_and_finds_the_one_that_comes(painter, serve):
    me = painter()
    me.until(lambda: me.kinds == [state.NO_SERVER])
    assert me.states[0].may_start
    serve()
    me.ready()
    assert me.models[0][0].name == "instant"


def test_a_request_comes_back_with_progress_previews_and_its_result(painter, serve):
    serve()
    me = painter()
    me.ready()
    request = generate("slow", variants=2)
    me.link.generate(request)
    me.until(lambda: len(me.results) == 2)
    assert [(r.job, r.variant, r.last) for r in me.results] == [
        (request.job, 0, False),
        (request.job, 1, True),
    ]
    assert {type(event) for event in me.news} == {m.Progress, m.Preview}
    assert me.errors == []


def test_a_trace_comes_back_as_a_control_map_and_is_forgotten_by_the_server(painter, serve):
    server = serve()
    me = painter()
    request = m.Annotate(
        job="0f0f0f0f-0000-4000-8000-00000000000a",
        kind="line",
        picture=Image(8, 8, "rgba8", bytes(256)),
    )
    me.link.annotate(request)
    me.until(lambda: me.maps, what="the map")
    (answer,) = me.maps
    assert (answer.job, answer.kind) == (request.job, "line")
    assert (answer.picture.width, answer.picture.height) == (8, 8)
    me.rest(0.3)
    assert server.process.poll() is None
    assert len(me.maps) == 1


def test_what_was_placed_is_acknowledged_and_what_was_not_is_kept(painter, serve, folder):
    serve()
    me = painter(places=False)
    me.ready()
    request = generate()
    me.link.generate(request)
    me.until(lambda: me.results)
    me.rest(0.3)
    assert jobs_of(folder) == [request.job]
    me.link.placed(request.job, 0)
    me.until(lambda: jobs_of(folder) == [], what="the server forgets it")


def test_a_busy_gui_finds_the_newest_preview_not_a_queue_of_old_ones(painter, serve):
    serve()
    me = painter()
    me.ready()
    me.link.news.disconnect()
    me.link.generate(generate("slow", steps=40))
    time.sleep(1.0)
    me.until(lambda: me.results)
    events = me.link.take_news()
    assert len(events) == 2
    assert {event.step for event in events} == {40}


def test_cancel_ends_a_job_with_one_answer(painter, serve):
    serve()
    me = painter()
    me.ready()
    request = generate("slow=50", steps=100)
    me.link.generate(request)
    me.until(lambda: me.news)
    me.link.cancel(request.job)
    me.until(lambda: me.errors)
    assert [(e.job, e.code) for e in me.errors] == [(request.job, "cancelled")]
    me.rest(0.3)
    assert len(me.errors) == 1
    assert me.results == []


def test_asked_before_there_is_a_server_it_is_painted_once_there_is_one(painter, serve):
    me = painter()
    request = generate()
    me.link.generate(request)
    me.until(lambda: me.kinds == [state.NO_SERVER])
    serve()
    me.until(lambda: me.results)
    assert [r.job for r in me.results] == [request.job]


def test_cancelled_before_there_is_a_server_it_is_never_painted(painter, serve):
    me = painter()
    request = generate()
    me.link.generate(request)
    me.link.cancel(request.job)
    me.until(lambda: me.errors)
    serve()
    me.ready()
    me.rest(0.5)
    assert me.results == []
    assert [e.code for e in me.errors] == ["cancelled"]


def test_a_job_in_a_server_that_is_killed_is_painted_by_the_next_one_once(painter, serve):
    first = serve()
    me = painter()
    me.ready()
    request = generate("slow=20", steps=60)
    me.link.generate(request)
    me.until(lambda: me.news)
    first.kill()
    me.until(lambda: me.kinds[-1] == state.NO_SERVER, what="no server")
    serve()
    me.until(lambda: me.results, what="the result")
    me.rest(0.5)
    assert [(r.job, r.variant) for r in me.results] == [(request.job, 0)]
    assert me.errors == []


def test_a_result_that_came_while_the_connection_was_lost_comes_once(painter, serve):
    server = serve()
    me = painter(places=False)
    me.ready()
    request = generate()
    me.link.generate(request)
    me.until(lambda: me.results)
    server.kill()
    serve()
    me.until(lambda: me.kinds.count(state.READY) == 2)
    me.rest(0.5)
    assert len(me.results) == 1


def test_a_new_krita_gets_what_the_one_before_did_not_take(app, painter, serve):
    serve()
    before = painter(places=False)
    before.ready()
    request = generate()
    before.link.generate(request)
    before.until(lambda: before.results)
    before.link.stop()
    after = painter()
    after.until(lambda: after.results)
    assert [r.job for r in after.results] == [request.job]


def test_two_kritas_at_once_do_not_share_a_session(painter, serve, folder):
    serve()
    one, two = painter(), painter()
    one.ready()
    two.ready()
    request = generate()
    one.link.generate(request)
    one.until(lambda: one.results)
    two.rest(0.3)
    assert two.results == []
    assert one.kinds.count(state.READY) == two.kinds.count(state.READY) == 1


def test_a_wrong_token_is_refused_with_a_reason_and_the_right_one_helps(painter, serve, folder):
    serve()
    token = folder / "token"
    right = token.read_text("ascii")
    token.write_text("x" * 43, "ascii")
    me = painter()
    me.until(lambda: me.kinds and me.kinds[-1] == state.REFUSED)
    assert "token" in me.states[-1].reason
    assert not me.states[-1].may_start
    token.write_text(right, "ascii")
    me.ready()


def test_a_session_that_the_server_forgot_is_replaced_by_a_new_one(painter, serve, folder):
    (folder / "krita-session-1").write_text("of-another-time", "ascii")
    serve()
    painter().ready()
    assert (folder / "krita-session-1").read_text("ascii") != "of-another-time"


def test_a_job_that_fails_says_why_and_the_next_one_is_painted(painter, serve):
    serve()
    me = painter()
    me.ready()
    bad = generate("memory")
    me.link.generate(bad)
    me.link.generate(generate())
    me.until(lambda: me.errors and me.results)
    assert [(e.job, e.code) for e in me.errors] == [(bad.job, "out_of_memory")]


def test_a_killed_worker_is_told_and_the_light_says_so(painter, serve):
    serve()
    me = painter()
    me.ready()
    me.link.generate(generate("crash"))
    me.until(lambda: me.errors)
    assert me.errors[0].code == "worker_lost"
    me.until(lambda: me.kinds.count(state.READY) == 2)
    assert state.RESTARTING in me.kinds


def test_start_server_runs_the_command_that_was_written_down(painter, folder, tmp_path):
    server = ServerProcess(folder)
    program = Path(sys.modules["harness"].__file__)
    code = (
        f"import sys; sys.path.insert(0, {str(program.parent)!r})\n"
        "import harness, json\n"
        f"sys.argv = ['-c', json.dumps({server._settings!r})]\n"
        "exec(harness._PROGRAM)"
    )
    (folder / "launch.json").write_text(json.dumps({"command": [sys.executable, "-c", code]}))
    me = painter()
    me.until(lambda: me.kinds == [state.NO_SERVER])
    me.link.start_server()
    me.ready()
    assert me.kinds[:2] == [state.NO_SERVER, state.CONNECTING]
    running = server.running
    os.kill(running.pid, 15)
    me.until(lambda: me.kinds[-1] == state.NO_SERVER)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (None, "run `velatura plugin install` once"),
        (["/nowhere/velatura"], "/nowhere/velatura did not start"),
        ([sys.executable, "-c", "import sys; sys.exit('no model')"], "no model"),
    ],
)
def test_a_server_that_cannot_start_says_why(painter, folder, command, sentence):
    if command is not None:
        (folder / "launch.json").write_text(json.dumps({"command": command}))
    me = painter()
    me.until(lambda: me.states)
    me.link.start_server()
    me.until(lambda: sentence in me.states[-1].reason)
    assert me.states[-1].may_start


def test_the_server_gets_the_environment_without_what_krita_set_for_itself():
    environ = {"PYTHONHOME": "/krita", "LD_LIBRARY_PATH": "/krita/lib", "HOME": "/me"}
    assert server_environment(environ) == {"HOME": "/me"}


def test_a_session_file_that_another_krita_released_is_taken_over(folder):
    first = SessionFile(folder)
    assert first.read() is None
    first.write("kept")
    assert SessionFile(folder).read() is None
    first.release()
    assert SessionFile(folder).read() == "kept"


def test_handing_over_a_large_request_does_not_hold_the_gui(painter, serve):
    serve()
    me = painter()
    me.ready()
    side = 1024
    request = replace(
        generate(),
        canvas=Size(side, side),
        region=Rect(0, 0, side, side),
        surroundings=Image(side, side, "rgba8", bytes(4 * side * side)),
    )
    began = time.thread_time()
    me.link.generate(request)
    handed = time.thread_time() - began
    me.until(lambda: me.results)
    encoded = len(request.surroundings.data)
    began = time.thread_time()
    bytes(bytearray(encoded))
    copied = time.thread_time() - began
    # Less than copying the pixels once: nothing is encoded on this thread.
    assert handed < max(copied, 0.001)


# --- live ------------------------------------------------------------------------------------------

LIVE, OTHER = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"


def opened(job=LIVE, **fields):
    return m.LiveOpen(job=job, model="instant", area=Size(8, 8), **fields)


def frame(revision, base=0, side=8, value=10, job=LIVE):
    picture = Image(side, side, "rgba8", bytes((value, value, value, 255)) * (side * side))
    return m.LiveFrame(job=job, revision=revision, base=base, x=0, y=0, picture=picture)


class Live:
    """What the link has said of live canvases, in order."""

    def __init__(self, me):
        self.me, self.heard = me, []
        me.link.live.connect(self.heard.append)

    def until(self, kind):
        self.me.until(lambda: self.heard and isinstance(self.heard[-1], kind), what=kind)
        return self.heard[-1]


def test_a_live_canvas_is_opened_changed_and_closed(painter, serve):
    serve()
    me = painter()
    live = Live(me)
    me.ready()
    me.link.send_live(opened())
    me.link.send_live(frame(1))
    first = live.until(m.LiveResult)
    assert (first.revision, bytes(first.picture.data)[:4]) == (1, bytes((245, 245, 245, 255)))
    me.link.send_live(frame(2, 1, side=2, value=0))
    me.until(lambda: live.heard[-1].revision == 2)
    assert (live.heard[-1].picture.width, bytes(live.heard[-1].picture.data)[0]) == (2, 255)
    me.link.send_live(m.LiveClose(job=LIVE))
    live.until(m.LiveClosed)
    me.link.send_live(frame(3, 2))
    me.rest(0.2)
    assert isinstance(live.heard[-1], m.LiveClosed)
    assert me.errors == []


def test_a_wrong_base_is_answered_by_a_wish_for_a_key_frame(painter, serve):
    serve()
    me = painter()
    live = Live(me)
    me.ready()
    me.link.send_live(opened())
    me.link.send_live(frame(1))
    live.until(m.LiveResult)
    me.link.send_live(frame(5, 4, side=2))
    live.until(m.LiveKeyFrame)
    me.link.send_live(frame(6))
    assert live.until(m.LiveResult).revision == 6


def test_a_live_canvas_ends_with_its_connection_and_a_new_one_can_be_opened(painter, serve):
    server = serve()
    me = painter()
    live = Live(me)
    me.ready()
    me.link.send_live(opened(prompt="slow=50", steps=100))
    me.link.send_live(frame(1))
    server.kill()
    assert live.until(m.LiveClosed).job == LIVE
    me.link.send_live(frame(2, 1))
    me.link.send_live(opened(OTHER))
    me.until(lambda: live.heard[-1].job == OTHER)
    assert isinstance(live.heard[-1], m.LiveClosed)
    serve()
    me.until(lambda: me.kinds[-1] == state.READY)
    me.link.send_live(opened())
    me.link.send_live(frame(1))
    live.until(m.LiveResult)


def test_what_the_server_refuses_to_paint_live_ends_the_canvas_with_a_reason(painter, serve):
    serve()
    me = painter()
    live = Live(me)
    me.ready()
    me.link.send_live(opened(prompt="memory"))
    me.link.send_live(frame(1))
    assert live.until(m.Error).code == "out_of_memory"
    assert me.errors == []
