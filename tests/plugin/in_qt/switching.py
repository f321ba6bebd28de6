"""The link between two real server processes. Run by test_in_qt.py."""

from __future__ import annotations

import socket
import subprocess
import threading
from dataclasses import replace

import pytest
from harness import generate
from link import Live, frame, jobs_of, opened
from velatura.krita_plugin import state
from velatura.krita_plugin.servers import HERE, Server
from velatura.krita_plugin.state import LinkState
from velatura.protocol import messages as m


def named(server, **changes):
    """As a painter types it in."""
    entry = Server("a1b2c3d4", "studio", server.url.removeprefix("ws://"), server.token)
    return replace(entry, **changes)


def address_of(listening):
    return "127.0.0.1:{1}".format(*listening.getsockname())


def use(me, server):
    """Switch, and wait until that server is ready."""
    me.states.clear()
    me.link.use(server)
    me.ready()


def test_each_server_answers_what_it_was_asked_and_nothing_is_lost(painter, start, folder):
    start(folder)
    there = named(start())
    me = painter()
    me.ready()
    slow, other = generate("slow=40", steps=60), generate()
    me.link.generate(slow)
    me.until(lambda: me.news, what="painting")
    use(me, there)
    me.news.clear()
    me.link.generate(other)
    me.until(lambda: me.results, what="the other server's picture")
    assert [each.job for each in me.results] == [other.job]
    assert {event.job for event in me.news} <= {other.job}
    use(me, HERE)
    me.until(lambda: len(me.results) == 2, what="the picture that was painted meanwhile")
    assert me.results[1].job == slow.job
    me.until(lambda: jobs_of(folder) == [], what="the server forgets it")
    assert me.errors == []


def test_a_picture_kept_while_another_server_is_used_is_acknowledged_later(painter, start, folder):
    start(folder)
    there = named(start())
    me = painter(places=False)
    me.ready()
    request = generate()
    me.link.generate(request)
    me.until(lambda: me.results)
    use(me, there)
    me.link.placed(request.job, 0)
    me.rest(0.3)
    assert jobs_of(folder) == [request.job]
    use(me, HERE)
    me.until(lambda: jobs_of(folder) == [], what="the server forgets it")
    assert len(me.results) == 1


def test_a_job_cancelled_while_another_server_is_used_is_over_at_once(painter, start, folder):
    start(folder)
    there = named(start())
    me = painter()
    me.ready()
    request = generate("slow=50", steps=150)
    me.link.generate(request)
    me.until(lambda: me.news)
    use(me, there)
    me.link.cancel(request.job)
    me.until(lambda: me.errors)
    assert [(each.job, each.code) for each in me.errors] == [(request.job, "cancelled")]
    use(me, HERE)
    me.rest(0.5)
    assert me.results == []
    assert len(me.errors) == 1


def test_a_live_canvas_ends_when_another_server_is_used(painter, start, folder):
    start(folder)
    there = named(start())
    me = painter()
    live = Live(me)
    me.ready()
    me.link.send_live(opened())
    me.link.send_live(frame(1))
    live.until(m.LiveResult)
    use(me, there)
    live.until(m.LiveClosed)
    me.link.send_live(opened())
    me.link.send_live(frame(1))
    live.until(m.LiveResult)


def test_a_server_that_moved_goes_on_with_what_it_was_asked(painter, start, tmp_path):
    first = start(tmp_path / "moving")
    me = painter()
    use(me, named(first))
    request = generate("slow=20", steps=60)
    me.link.generate(request)
    me.until(lambda: me.news)
    first.kill()
    me.until(lambda: me.kinds[-1] == state.UNREACHABLE, what="nobody there")
    use(me, named(start(tmp_path / "moving"), name="renamed"))
    me.until(lambda: me.results, what="the picture")
    assert [each.job for each in me.results] == [request.job]
    assert me.errors == []


def test_a_new_krita_gets_what_another_server_still_has(painter, start, folder):
    there = named(start())
    before = painter(places=False)
    use(before, there)
    request = generate()
    before.link.generate(request)
    before.until(lambda: before.results)
    before.link.stop()
    after = painter()
    use(after, there)
    after.until(lambda: after.results)
    assert [each.job for each in after.results] == [request.job]
    assert sorted(path.name for path in folder.glob("krita-session-a*-1")) == [
        "krita-session-a1b2c3d4-1"
    ]


def test_using_the_same_server_again_tries_again_at_once(painter, start):
    there = start()
    me = painter()
    me.link.use(named(there, token="x" * 43))
    me.until(lambda: me.kinds and me.kinds[-1] == state.REFUSED)
    use(me, named(there))


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"token": "x" * 43}, state.REFUSED, "refused the token"),
        ({"token": "two words"}, state.REFUSED, "The token must be one word"),
        ({"token": ""}, state.REFUSED, "The token must be one word"),
        ({"address": "my studio"}, state.REFUSED, "The address must be a name or a number"),
        ({"address": "127.0.0.1:1"}, state.UNREACHABLE, "Nothing answers at 127.0.0.1:1"),
        ({"address": "no.such.computer.invalid"}, state.UNREACHABLE, "No computer of that name"),
    ],
)
def test_what_keeps_a_server_away_is_one_sentence_and_the_next_choice_works(
    painter,
    start,
    changes,
    kind,
    words,
):
    right = named(start())
    me = painter()
    me.link.use(replace(right, **changes))
    me.until(lambda: me.kinds[-1:] == [kind], what=words)
    assert words in me.states[-1].reason
    assert not me.states[-1].may_start
    assert right.token not in me.states[-1].reason
    use(me, right)


def test_what_is_no_velatura_server_is_said_to_be_none(painter):
    listening = socket.create_server(("127.0.0.1", 0))

    def answer():
        while True:
            try:
                with listening.accept()[0] as caller:
                    caller.recv(4096)  # closing on unread bytes would reset the connection
                    caller.sendall(b"220 mail, not pictures\r\n")
            except OSError:
                return

    threading.Thread(target=answer, daemon=True).start()
    me = painter()
    place = address_of(listening)
    me.link.use(Server("a1b2c3d4", "studio", place, "x"))
    me.until(lambda: me.kinds[-1:] == [state.REFUSED], what="a refusal")
    assert me.states[-1].reason.startswith(f"What answers at {place} is no Velatura server")
    me.link.use(Server("a1b2c3d4", "studio", "wss://" + place, "x"))
    me.until(lambda: "TLS" in me.states[-1].reason, what="no TLS")
    listening.close()


def test_a_certificate_that_this_computer_does_not_trust_is_said(painter, start, tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        f"-subj /CN=localhost -keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )
    there = start(certificate=str(certificate), key=str(key))
    me = painter()
    me.link.use(named(there, address=there.url))
    place = there.url.removeprefix("wss://")
    said = f"This computer does not trust the certificate of {place}."
    me.until(lambda: me.states[-1:] == [LinkState(state.REFUSED, said)], what=said)
    me.link.use(named(there, address=place))
    me.until(lambda: "wants wss://" in me.states[-1].reason, what="TLS is needed")


def test_a_server_that_never_answers_holds_up_no_other(painter, start, folder):
    start(folder)
    deaf = socket.create_server(("127.0.0.1", 0))
    me = painter()
    me.ready()
    me.link.use(Server("a1b2c3d4", "studio", address_of(deaf), "x"))
    me.until(lambda: me.kinds[-1] == state.CONNECTING)
    me.rest(0.3)
    assert me.kinds[-1] == state.CONNECTING
    me.states.clear()
    me.link.use(HERE)
    me.until(lambda: me.kinds[-1:] == [state.READY], seconds=4, what="this computer's own")
    me.rest(5)
    assert me.kinds[-1] == state.READY
    deaf.close()
