"""An answer is on disk before it is sent, whole or not at all, until it is acknowledged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from harness import new_job
from velatura.protocol import messages as m
from velatura.protocol.codec import encode
from velatura.protocol.pixels import Image
from velatura.server.results import Results, UnreadableError

SESSION = "0123456789abcdef" * 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def open_results(folder: Path, most_bytes: int = 1 << 20, age: float = 1000.0, **more) -> Results:
    return Results(folder, most_bytes=most_bytes, age=age, **more)


def result(job: str, variant: int = 0, last: bool = True, side: int = 4) -> m.Result:
    picture = Image(side, side, "rgba8", os.urandom(4 * side * side))
    return m.Result(
        job=job, variant=variant, seed=1, x=0, y=0, picture=picture, recipe={}, last=last
    )


def keep(results: Results, message: m.Message, session: str = SESSION) -> None:
    results.add(session, results.write(session, message))


def loaded(results: Results, job: str) -> list[m.Message]:
    return [stored.load() for stored in results.answers(SESSION, job)]


def test_results_outlive_the_server_in_their_order(folder):
    job, results = new_job(), open_results(folder)
    answers = [result(job, 0, last=False), result(job, 1, last=False), result(job, 2)]
    for answer in answers:
        keep(results, answer)
    again = open_results(folder)
    assert again.jobs(SESSION) == (job,)
    assert again.is_finished(SESSION, job)
    assert loaded(again, job) == answers


@pytest.mark.parametrize(
    "answer",
    [
        m.Error(code="out_of_memory", message="Too large.", job=new_job()),
        m.ControlMap(job=new_job(), kind="canny", picture=Image(1, 1, "gray8", b"\0")),
    ],
)
def test_errors_and_control_maps_are_final_answers_too(folder, answer):
    keep(open_results(folder), answer)
    again = open_results(folder)
    assert again.is_finished(SESSION, answer.job)
    assert loaded(again, answer.job) == [answer]


def test_what_is_half_written_is_never_seen(folder):
    job, results = new_job(), open_results(folder)
    keep(results, result(job))
    whole = folder / SESSION / job / "0.msg"
    (whole.parent / "1.part").write_bytes(whole.read_bytes()[:40])
    torn = new_job()
    (folder / SESSION / torn).mkdir()
    (folder / SESSION / torn / "0.part").write_bytes(whole.read_bytes()[:40])
    again = open_results(folder)
    assert again.jobs(SESSION) == (job,)
    assert len(again.answers(SESSION, job)) == 1
    assert not list(folder.rglob("*.part"))


def test_a_damaged_file_is_left_out_and_the_others_stay(folder):
    job, damaged, results = new_job(), new_job(), open_results(folder)
    keep(results, result(job))
    keep(results, result(damaged))
    path = folder / SESSION / damaged / "0.msg"
    path.write_bytes(path.read_bytes()[:-7])
    empty = folder / SESSION / job / "3.msg"
    empty.touch()
    assert open_results(folder).jobs(SESSION) == (job,)


def test_a_job_that_a_dead_server_left_unfinished_is_ended_and_keeps_its_variants(folder):
    job, results = new_job(), open_results(folder)
    first = result(job, 0, last=False)
    keep(results, first)
    assert not results.is_finished(SESSION, job)
    again = open_results(folder)
    picture, error = loaded(again, job)
    assert picture == first
    assert (error.code, error.job) == ("worker_lost", job)


def test_acknowledging_removes_the_results_and_remembers_the_job(folder):
    job, results = new_job(), open_results(folder)
    keep(results, result(job))
    results.acknowledge(SESSION, job)
    for store in (results, open_results(folder)):
        assert store.jobs(SESSION) == ()
        assert store.was_acknowledged(SESSION, job)
    assert not (folder / SESSION / job).exists()


def test_a_job_that_is_not_finished_cannot_be_acknowledged(folder):
    job, results = new_job(), open_results(folder)
    keep(results, result(job, 0, last=False))
    results.acknowledge(SESSION, job)
    assert results.jobs(SESSION) == (job,)
    assert not results.was_acknowledged(SESSION, job)


def test_sessions_do_not_see_each_other(folder):
    job, results = new_job(), open_results(folder)
    keep(results, result(job))
    other = "f" * 32
    assert results.jobs(other) == ()
    assert results.answers(other, job) == []
    results.acknowledge(other, job)
    assert results.jobs(SESSION) == (job,)


def test_the_oldest_finished_jobs_make_room(folder):
    results = open_results(folder, session_bytes=3 * 4 * 64 * 64)
    running = new_job()
    keep(results, result(running, 0, last=False, side=64))
    jobs = [new_job() for _ in range(4)]
    for job in jobs:
        keep(results, result(job, side=64))
    assert results.jobs(SESSION) == (running, jobs[-1])
    assert {path.name for path in (folder / SESSION).iterdir()} == {running, jobs[-1]}


OTHER = "fedcba9876543210" * 2


def test_a_session_makes_room_at_its_own_cost_only(folder):
    results = open_results(folder, session_bytes=20 * 4096, session_jobs=5)
    waiting = new_job()
    keep(results, result(waiting), OTHER)
    for _ in range(50):
        keep(results, result(new_job(), side=64))
    assert results.jobs(OTHER) == (waiting,)
    assert len(results.jobs(SESSION)) == 4  # 16 KiB each, and the blocks of a file
    for _ in range(50):
        keep(results, result(new_job()))
    assert len(results.jobs(SESSION)) == 5
    assert len(list((folder / SESSION).iterdir())) == 5


def test_errors_are_no_pictures_and_put_none_out(folder):
    results = open_results(folder, session_jobs=5, session_errors=7)
    mine, theirs = new_job(), new_job()
    keep(results, result(mine))
    keep(results, result(theirs), OTHER)
    errors = [new_job() for _ in range(1100)]
    for job in errors:
        keep(results, m.Error(code="unknown_model", message="Gone.", job=job))
    assert results.jobs(SESSION) == (mine, *errors[-7:])
    assert results.jobs(OTHER) == (theirs,)
    assert open_results(folder).jobs(SESSION) == (mine, *errors[-7:])


def test_where_all_together_fill_the_disks_share_no_new_job_is_taken_and_none_is_lost(folder):
    results = open_results(folder, most_bytes=40_000, session_bytes=1 << 20)
    jobs = [new_job() for _ in range(3)]
    for job in jobs:
        assert not results.full()
        keep(results, result(job, side=64))
    assert results.full().endswith("open the programs that asked for them.")
    assert results.jobs(SESSION) == tuple(jobs)
    results.acknowledge(SESSION, jobs[0])
    assert not results.full()


def test_what_nobody_fetched_for_long_goes_where_there_is_no_room_and_only_there(folder):
    results = open_results(folder, most_bytes=40_000, session_bytes=1 << 20, age=-1.0)
    jobs = [new_job() for _ in range(3)]
    for job in jobs[:2]:
        keep(results, result(job, side=64))
    assert not results.full()
    assert results.jobs(SESSION) == tuple(jobs[:2])
    keep(results, result(jobs[2], side=64))
    assert not results.full()
    assert results.jobs(SESSION) == tuple(jobs[1:])


def test_a_clock_that_jumps_loses_nothing(folder):
    job, results = new_job(), open_results(folder)
    keep(results, result(job))
    for path in (folder / SESSION).rglob("*"):
        os.utime(path, (0, 0))
    again = open_results(folder, age=1.0)
    keep(again, result(new_job()))
    assert not again.full()
    assert again.jobs(SESSION)[0] == job


def test_what_the_disk_refuses_is_bounded_in_memory(folder):
    results = open_results(folder, memory_bytes=20_000)
    (folder / SESSION).write_text("a file where the folder should be")
    keep(results, result(new_job(), side=64))
    assert not results.full()
    job = new_job()
    keep(results, result(job, side=64))
    assert "cannot be written to disk" in results.full()
    results.acknowledge(SESSION, job)
    assert not results.full()


def test_an_answer_that_cannot_be_read_says_so_and_its_file_outlives_the_acknowledgement(folder):
    job, results = new_job(), open_results(folder)
    keep(results, result(job))
    (stored,) = results.answers(SESSION, job)
    stored.path.write_bytes(stored.path.read_bytes()[:100])
    with pytest.raises(UnreadableError):
        stored.load()
    results.set_aside(SESSION, job)
    results.acknowledge(SESSION, job)
    assert results.jobs(SESSION) == ()
    assert (folder / SESSION / f"{job}.unreadable" / "0.msg").stat().st_size == 100
    assert open_results(folder).jobs(SESSION) == ()


@pytest.mark.parametrize(
    "strange",
    [
        lambda job: (job / "0.msg").mkdir(),
        lambda job: (job / "x").mkdir(),
        lambda job: os.mkfifo(job / "1.msg"),
        lambda job: (job / "2.msg").symlink_to("/nonexistent"),
        lambda job: (job.parent.parent / ("b" * 32)).write_text(""),
        lambda job: (job.parent.parent / "zz").symlink_to("/nonexistent"),
        lambda job: (job.parent / "acknowledged").write_bytes(b"\xff " * 5000),
        lambda job: os.mkfifo(job.parent / "acknowledged"),
        lambda job: (
            (job.parent / "acknowledged.part").mkdir(),
            (job.parent / "acknowledged").write_text("x " * 5000),
        ),
    ],
)
def test_whatever_lies_in_the_folder_the_results_beside_it_are_found(folder, strange):
    job = new_job()
    keep(open_results(folder), result(job))
    place = folder / SESSION / new_job()
    place.mkdir()
    strange(place)
    assert open_results(folder).jobs(SESSION) == (job,)


def test_a_result_that_the_disk_refuses_is_kept_in_memory(folder):
    job, results, answer = new_job(), open_results(folder), None
    (folder / SESSION).write_text("a file where the folder should be")
    answer = result(job)
    keep(results, answer)
    assert loaded(results, job) == [answer]
    assert results.is_finished(SESSION, job)


def test_a_disk_that_fills_up_leaves_no_part_of_a_file(folder, monkeypatch):
    job, results = new_job(), open_results(folder)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    stored = results.write(SESSION, result(job))
    assert stored.message is not None
    assert list((folder / SESSION / job).iterdir()) == []


def test_a_file_of_another_job_is_not_taken_for_an_answer(folder):
    job, other = new_job(), new_job()
    place = folder / SESSION / job
    place.mkdir(parents=True)
    (place / "0.msg").write_bytes(b"".join(encode(result(other))))
    (folder / "not a session").mkdir()
    assert open_results(folder).jobs(SESSION) == ()
