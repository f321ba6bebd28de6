"""What happens in mid-job: cancels, killed workers and servers, lost connections, a full disk."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket

import pytest
from harness import (
    drain,
    generate,
    is_alive,
    new_job,
    paints,
    wait_for,
    wait_until,
    worker_pid,
)
from velatura.protocol import messages as m
from velatura.protocol.client import Client
from velatura.protocol.errors import RemoteError
from velatura.protocol.pixels import Image
from websockets.exceptions import ConnectionClosed
from wire import closes_with

# --- what happens in mid-job ---------------------------------------------------------------------


def test_a_cancel_before_during_and_after_gets_one_final_answer(shared_server):
    with shared_server.client() as client:
        first = generate("slow=10", steps=100)
        waiting, later = generate(), generate()
        client.send(first)
        client.send(waiting)
        client.send(m.Cancel(job=waiting.job))
        with pytest.raises(RemoteError) as cancelled:
            client.until_final(waiting.job)
        assert cancelled.value.code == "cancelled"
        steps = []
        wait_for(client, lambda event: isinstance(event, m.Progress) and event.step > 2)
        client.send(m.Cancel(job=first.job))
        client.send(m.Cancel(job=first.job))
        with pytest.raises(RemoteError) as cancelled:
            client.until_final(first.job, steps.append)
        assert cancelled.value.code == "cancelled"
        assert len(steps) < 60
        client.send(later)
        assert len(client.until_final(later.job)) == 1
        client.send(m.Cancel(job=later.job))
        client.send(m.Cancel(job=new_job()))
        assert [e for e in drain(client) if getattr(e, "job", None) in (first.job, later.job)] == []


@pytest.mark.parametrize("after", [0, 2, 6, 7, 8])
def test_a_cancel_around_the_last_step_ends_in_a_result_or_cancelled_never_both(
    shared_server, after
):
    with shared_server.client() as client:
        request = generate("slow=2", steps=8)
        finals = []

        def keep(event):
            if isinstance(event, (m.Result, m.Error)):
                finals.append(event)
            return getattr(event, "step", -1) >= after

        client.send(request)
        wait_for(client, keep)
        client.send(m.Cancel(job=request.job))
        for event in drain(client):
            keep(event)
        assert len(finals) == 1
        assert isinstance(finals[0], m.Result) or finals[0].code == "cancelled"


def test_a_worker_killed_at_any_moment_is_told_and_nothing_else_is_lost(make_server):
    server = make_server()
    killed = []
    with server.client() as client:
        pid = worker_pid(client)
        for seed in range(20):
            dice = random.Random(seed)
            running = generate("slow=3", steps=10, variants=2, seed=seed)
            queued = generate(seed=seed + 1000)
            moment = (dice.randrange(2), dice.randrange(1, 11))
            client.send(running)
            client.send(queued)
            answers = kill_worker(client, pid, moment, running.job, queued.job)

            lost = [a.job for a in answers if isinstance(a, m.Error)]
            assert len(lost) <= 1
            assert all(a.code == "worker_lost" for a in answers if isinstance(a, m.Error))
            variants = [a.variant for a in answers if a.job == running.job and is_result(a)]
            assert variants == [0, 1][: len(variants)]
            # A variant that was finished before the worker died is there.
            assert len(variants) >= moment[0]
            assert (running.job in lost) == (len(variants) < 2)
            if running.job in lost:
                killed.append(moment)
                assert [a.seed for a in answers if a.job == queued.job] == [queued.seed]

            following = generate(seed=seed + 2000)
            client.send(following)
            (result,) = client.until_final(following.job)
            assert result.seed == following.seed
            assert result.recipe["process"] != pid
            pid = result.recipe["process"]
            assert not [e for e in drain(client, 0.02) if isinstance(e, (m.Result, m.Error))]
    assert len(killed) > 10, "the jobs were too short to be killed"


def is_result(message: m.Message) -> bool:
    return isinstance(message, m.Result)


def kill_worker(
    client: Client, pid: int, moment: tuple[int, int], running: str, queued: str
) -> list[m.Result | m.Error]:
    """Kill the worker once ``running`` is at (variant, step); the answers to both jobs."""
    answers: list[m.Result | m.Error] = []
    waiting, alive, told = {running, queued}, True, False
    while waiting or alive or not told:
        event = client.receive(20) if waiting or not alive else None
        told = told or (not alive and isinstance(event, m.Status))
        at = event is None or (
            isinstance(event, m.Progress)
            and event.job == running
            and (event.variant, event.step) >= moment
        )
        if alive and at:
            os.kill(pid, signal.SIGKILL)
            alive = False
        if isinstance(event, (m.Result, m.Error)):
            answers.append(event)
            if isinstance(event, m.Error) or event.last:
                waiting.remove(event.job)
    return answers


def test_a_job_that_kills_its_worker_is_not_tried_again(make_server):
    server = make_server()
    with server.client() as client:
        pid = worker_pid(client)
        killer = generate("crash")
        client.send(killer)
        with pytest.raises(RemoteError) as lost:
            client.until_final(killer.job)
        assert lost.value.code == "worker_lost"
        client.send(killer)
        with pytest.raises(RemoteError) as again:
            client.until_final(killer.job)
        assert again.value.message == lost.value.message
        request = generate()
        client.send(request)
        (result,) = client.until_final(request.job)
        assert result.recipe["process"] != pid
    assert server.log.count("starts") == 4  # two workers, two jobs


def test_an_id_that_a_job_holds_opens_no_canvas_and_the_job_is_answered(make_server):
    server = make_server()
    with server.client() as owner, server.client() as other:
        request, waiting = generate("slow=20", steps=50), generate()
        owner.send(request)
        owner.send(waiting)
        wait_for(owner, lambda event: isinstance(event, m.Progress) and event.step > 0)
        for job in (request.job, waiting.job):
            other.send(m.LiveOpen(job=job, model="instant", area=m.Size(8, 8)))
            refused = wait_for(other, lambda event: isinstance(event, m.Error))
            assert (refused.code, refused.field, refused.job) == ("invalid_field", "job", job)
        owner.send(m.Cancel(job=request.job))
        with pytest.raises(RemoteError) as cancelled:
            owner.until_final(request.job)
        assert cancelled.value.code == "cancelled"
        assert len(owner.until_final(waiting.job)) == 1
        about = {getattr(event, "job", None) for event in drain(other)}
        assert not about & {request.job, waiting.job}
    assert paints(server)


def test_an_id_that_a_canvas_holds_is_no_job_and_the_canvas_goes_on(make_server):
    server = make_server()
    with server.client() as owner, server.client() as other:
        worker_pid(owner)
        job, area = new_job(), m.Size(8, 8)
        owner.send(m.LiveOpen(job=job, model="instant", area=area))
        picture = Image(8, 8, "rgba8", bytes(256))
        owner.send(m.LiveFrame(job=job, revision=1, base=0, x=0, y=0, picture=picture))
        wait_for(owner, lambda event: isinstance(event, m.LiveResult))
        annotate = m.Annotate(job=job, kind="canny", picture=picture)
        for request in (generate(job=job), annotate):
            other.send(request)
            refused = wait_for(other, lambda event: isinstance(event, m.Error))
            assert (refused.code, refused.field, refused.job) == ("invalid_field", "job", job)
        owner.send(m.LiveFrame(job=job, revision=2, base=0, x=0, y=0, picture=picture))
        wait_for(owner, lambda event: isinstance(event, m.LiveResult) and event.revision == 2)
        owner.send(m.LiveClose(job=job))
        wait_for(owner, lambda event: isinstance(event, m.LiveClosed))
    assert paints(server)


def test_the_id_of_a_lost_canvas_or_a_finished_job_is_refused_in_its_own_session(make_server):
    server = make_server()
    with server.client() as client:
        worker_pid(client)
        done, session, job = generate(), client.welcome.session, new_job()
        client.send(done)
        client.until_final(done.job)
        client.send(m.LiveOpen(job=done.job, model="instant", area=m.Size(8, 8)))
        refused = wait_for(client, lambda event: isinstance(event, m.Error))
        assert (refused.code, refused.field) == ("invalid_field", "job")
        client.send(m.LiveOpen(job=job, model="instant", area=m.Size(64, 64), prompt="slow=300"))
        picture = Image(64, 64, "rgba8", bytes(4 * 64 * 64))
        client.send(m.LiveFrame(job=job, revision=1, base=0, x=0, y=0, picture=picture))
    with server.client(session) as back:
        back.send(generate(job=job, model="nope"))
        ended = wait_for(back, lambda event: isinstance(event, m.Error) and event.job == job)
        assert ended.code in ("invalid_field", "unknown_model")
    assert paints(server)


@pytest.mark.parametrize(
    ("prompt", "code"), [("memory", "out_of_memory"), ("nan", "bad_output"), ("raise", "internal")]
)
def test_a_coded_error_passes_through_and_the_next_job_works(shared_server, prompt, code):
    with shared_server.client() as client:
        request = generate(prompt)
        client.send(request)
        with pytest.raises(RemoteError) as failed:
            client.until_final(request.job)
        assert (failed.value.code, failed.value.job) == (code, request.job)
    assert paints(shared_server)


# --- connections and servers that are lost -------------------------------------------------------


def test_a_result_waits_for_a_lost_connection_and_is_delivered_once(shared_server):
    client = shared_server.client()
    session, request = client.welcome.session, generate("slow=10", steps=20, variants=2)
    client.send(request)
    wait_for(client, lambda event: isinstance(event, m.Progress) and event.step > 1)
    client._transport.socket.close()  # the cable, not a goodbye
    with shared_server.client(session) as back:
        assert back.welcome.jobs == (request.job,)
        results = back.until_final(request.job)
        assert [result.variant for result in results] == [0, 1]
        back.send(m.Acknowledge(job=request.job))
        assert drain(back) == []
    with shared_server.client(session) as again:
        assert again.welcome.jobs == ()
        assert not [event for event in drain(again) if isinstance(event, m.Result)]


def test_an_answer_that_was_not_acknowledged_comes_again_and_is_not_painted_again(shared_server):
    with shared_server.client() as client:
        session, request, failing = client.welcome.session, generate(seed=77), generate("memory")
        client.send(request)
        (first,) = client.until_final(request.job)
        client.send(failing)
        with pytest.raises(RemoteError):
            client.until_final(failing.job)
        client.send(request)  # the same job id: the same job
        assert client.until_final(request.job) == [first]
    with shared_server.client(session) as back:
        assert set(back.welcome.jobs) == {request.job, failing.job}
        assert back.until_final(request.job) == [first]
        with pytest.raises(RemoteError):
            back.until_final(failing.job)
        back.send(m.Acknowledge(job=request.job))
        back.send(request)
        with pytest.raises(RemoteError) as refused:
            back.until_final(request.job)
        assert refused.value.code == "unknown_job"
    assert shared_server.log.count(f"{request.job} starts") == 1


def test_a_killed_server_keeps_finished_results_and_leaves_no_worker(make_server):
    server = make_server()
    client = server.client()
    session, pid = client.welcome.session, worker_pid(client)
    finished, running = generate(seed=1), generate("slow=30 deaf", steps=100, variants=2)
    unlucky = generate(seed=3)
    client.send(finished)
    (first,) = client.until_final(finished.job)
    half = generate("slow=5", steps=5, variants=8, seed=40)
    client.send(half)
    one = wait_for(client, lambda event: isinstance(event, m.Result))
    client.send(running)
    client.send(unlucky)
    server.kill()
    assert closes(client)
    wait_until(lambda: not is_alive(pid))
    server.start()
    with server.client(session) as back:
        assert set(back.welcome.jobs) == {finished.job, half.job}
        events: list[m.Message] = []
        with pytest.raises(RemoteError) as lost:
            back.until_final(half.job, events.append)
        assert lost.value.code == "worker_lost"
        assert [e for e in events if isinstance(e, m.Result)][:2] == [first, one]
        back.send(unlucky)  # it was not there: the client sends it again, with the same id
        (result,) = back.until_final(unlucky.job)
        assert result.seed == 3


def closes(client: Client) -> bool:
    with contextlib.suppress(ConnectionClosed, OSError):
        while True:
            client.receive(20)
    return True


def test_a_server_that_stops_takes_its_worker_along_and_says_goodbye(make_server):
    server = make_server()
    with server.client() as client:
        pid = worker_pid(client)
        client.send(generate("slow=5000 deaf"))
        wait_until(lambda: "starts" in server.log.split("worker process")[-1])
        server.process.send_signal(signal.SIGTERM)
        assert closes_with(client) == 1001
    assert server.process.wait(20) == 0
    assert not is_alive(pid)
    assert server.running is None


# --- two servers ---------------------------------------------------------------------------------


def test_a_second_server_on_one_folder_is_told_who_has_it(make_server):
    server = make_server()
    with pytest.raises(RuntimeError, match=f"process {server.pid} at {server.url}"):
        make_server()
    assert paints(server)
    assert server.running.pid == server.pid


def test_a_taken_port_is_one_sentence_that_names_the_option(make_server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(RuntimeError) as refused:
            make_server(tmp_path / "second", port=port)
    assert str(port) in str(refused.value)
    assert "--port" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_a_dead_server_left_is_taken_over(make_server):
    server = make_server()
    token = server.token
    server.kill()
    assert server.running is not None
    server.start()
    assert server.running.pid == server.pid
    assert server.token == token
    assert paints(server)


def test_a_process_that_got_the_dead_servers_pid_does_not_stand_in_the_way(make_server, tmp_path):
    folder = tmp_path / "velatura"
    folder.mkdir()
    (folder / "server.json").write_text(
        json.dumps({"pid": os.getpid(), "host": "127.0.0.1", "port": 1, "version": ""})
    )
    assert paints(make_server(folder))


# --- the disk ------------------------------------------------------------------------------------


def test_a_full_disk_is_told_and_the_result_still_arrives(make_server):
    server = make_server()
    with server.client() as client:
        session, request = client.welcome.session, generate()
        (place,) = (server.folder / "results").iterdir()
        # Where the job's folder should be stands a file: writing fails as on a full disk.
        (place / request.job).write_text("")
        client.send(request)
        (result,) = client.until_final(request.job)
        error = wait_for(client, lambda event: isinstance(event, m.Error))
        assert (error.code, error.job) == ("storage", None)
    with server.client(session) as back:
        assert back.until_final(request.job) == [result]
        back.send(m.Acknowledge(job=request.job))
        assert drain(back) == []


@pytest.mark.parametrize("how", ["cut", "removed", "replaced", "a folder"])
def test_a_result_that_cannot_be_read_ends_its_job_and_all_else_comes(make_server, how):
    server = make_server()
    with server.client() as client:
        session = client.welcome.session
        broken, batch, whole = generate(), generate(variants=3), generate()
        for request in (broken, batch, whole):
            client.send(request)
            client.until_final(request.job)
    for job, name in ((broken.job, "0.msg"), (batch.job, "1.msg")):
        (path,) = server.folder.glob(f"results/*/{job}/{name}")
        if how == "cut":
            path.write_bytes(path.read_bytes()[:100])
        elif how == "replaced":
            path.write_bytes(b"\x02\0\0\0[]")
        else:
            path.unlink()
            if how == "a folder":
                path.mkdir()
    for _ in range(2):
        with server.client(session) as back:
            assert set(back.welcome.jobs) == {broken.job, batch.job, whole.job}
            seen: list[m.Message] = []
            assert len(back.until_final(whole.job, seen.append)) == 1
            for job in (broken.job, batch.job):
                (error,) = [e for e in seen if isinstance(e, m.Error) and e.job == job]
                assert error.code == "storage"
            variants = [e.variant for e in seen if is_result(e) and e.job == batch.job]
            assert variants == [0, 2]
            assert paints(server)
    with server.client(session) as back:
        back.until_final(whole.job)
        for job in (broken.job, batch.job, whole.job):
            back.send(m.Acknowledge(job=job))
        drain(back)
    with server.client(session) as again:
        assert again.welcome.jobs == ()


def test_a_results_folder_that_cannot_be_written_is_told_at_the_hello(make_server):
    server = make_server()
    with server.client() as client:
        session, request = client.welcome.session, generate()
        client.send(request)
        client.until_final(request.job)
    folder = server.folder / "results"
    folder.rename(server.folder / "elsewhere")
    folder.write_text("a file")
    with pytest.raises(RemoteError) as refused:
        server.client()
    assert refused.value.code == "storage"
    assert "data folder" in refused.value.message
    folder.unlink()
    (server.folder / "elsewhere").rename(folder)
    with server.client(session) as back:
        assert len(back.until_final(request.job)) == 1


def test_many_refused_jobs_of_one_client_cost_nobody_a_picture(make_server):
    server = make_server()
    with server.client() as painter:
        session, request = painter.welcome.session, generate()
        painter.send(request)
        painter.until_final(request.job)
    with server.client() as other:
        for _ in range(18):
            refused = [generate(model="gone", side=8) for _ in range(60)]
            for one in refused:
                other.send(one)
            with pytest.raises(RemoteError):
                other.until_final(refused[-1].job)
    with server.client(session) as back:
        assert back.welcome.jobs == (request.job,)
        assert len(back.until_final(request.job)) == 1


def test_a_control_map_is_an_answer_like_a_result(shared_server):
    with shared_server.client() as client:
        picture = Image(3, 2, "rgba8", os.urandom(24))
        request = m.Annotate(job=new_job(), kind="depth", picture=picture)
        client.send(request)
        found = client.until_final(request.job)
        assert (found.kind, found.picture) == ("depth", picture)
        client.send(request)
        assert client.until_final(request.job) == found
