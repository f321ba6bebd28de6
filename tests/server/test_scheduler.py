"""The queue is fair, quick for who waits in front of the canvas, and answers every job once."""

from __future__ import annotations

import pickle
import sys

from harness import generate, new_job
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from velatura.protocol import messages as m
from velatura.protocol.pixels import Image
from velatura.server.fair_queue import MOST_OVERTAKES, Entry, FairQueue
from velatura.server.scheduler import PLACES_TOLD, Run, Scheduler, Stop, Tell, is_final


def ready() -> Scheduler:
    scheduler = Scheduler()
    scheduler.worker_ready()
    return scheduler


def runs(actions):
    return [action.request.job for action in actions if isinstance(action, Run)]


def finish(scheduler, job):
    error = m.Error(code="internal", message="Done.", job=job)
    return scheduler.from_worker(error)


def order_of_running(scheduler, first):
    """Finish one job after the other; the ids in the order in which they ran."""
    ran, job = [], first
    while job is not None:
        ran.append(job)
        started = runs(finish(scheduler, job))
        job = started[0] if started else None
    return ran


def test_a_job_runs_at_once_when_the_worker_is_idle():
    request = generate()
    assert ready().submit("a", request) == [Run(request)]


def test_nothing_runs_before_the_worker_is_ready():
    scheduler, request = Scheduler(), generate()
    assert scheduler.submit("a", request) == [
        Tell("a", m.Progress(job=request.job, stage="queued", place=1))
    ]
    assert scheduler.worker_ready()[0] == Run(request)


def test_one_job_runs_at_a_time_and_the_next_follows_its_final_answer():
    scheduler, first, second = ready(), generate(), generate()
    scheduler.submit("a", first)
    assert runs(scheduler.submit("a", second)) == []
    assert runs(finish(scheduler, first.job)) == [second.job]


def test_sessions_take_turns():
    scheduler = ready()
    running = generate()
    scheduler.submit("greedy", running)
    greedy = [generate() for _ in range(3)]
    for request in greedy:
        scheduler.submit("greedy", request)
    modest = generate()
    scheduler.submit("modest", modest)
    ran = order_of_running(scheduler, running.job)
    assert ran == [running.job, modest.job, *(request.job for request in greedy)]


def test_interactive_jobs_go_before_batches():
    scheduler, running = ready(), generate()
    scheduler.submit("a", running)
    batch, single = generate(variants=4), generate()
    annotate = m.Annotate(job=new_job(), kind="canny", picture=Image(1, 1, "rgba8", bytes(4)))
    for request in (batch, single, annotate):
        scheduler.submit("a", request)
    ran = order_of_running(scheduler, running.job)
    assert ran == [running.job, single.job, annotate.job, batch.job]


def test_a_batch_is_passed_over_a_few_times_at_most():
    scheduler, running, batch = ready(), generate(), generate(variants=8)
    scheduler.submit("a", running)
    scheduler.submit("b", batch)
    for _ in range(2 * MOST_OVERTAKES):
        scheduler.submit("a", generate())
    ran = order_of_running(scheduler, running.job)
    assert ran.index(batch.job) == MOST_OVERTAKES + 1


def test_a_place_is_told_when_it_changes_and_only_then():
    scheduler, running = ready(), generate()
    scheduler.submit("a", running)
    first, second = generate(), generate()
    assert scheduler.submit("a", first) == [
        Tell("a", m.Progress(job=first.job, stage="queued", place=1))
    ]
    assert scheduler.submit("a", second) == [
        Tell("a", m.Progress(job=second.job, stage="queued", place=2))
    ]
    told = [action.message for action in finish(scheduler, running.job)[2:]]
    assert told == [m.Progress(job=second.job, stage="queued", place=1)]


def test_the_same_job_again_is_the_same_job():
    scheduler, running, waiting = ready(), generate(), generate()
    scheduler.submit("a", running)
    scheduler.submit("a", waiting)
    assert scheduler.submit("a", running) == []
    assert scheduler.submit("a", waiting) == []
    assert order_of_running(scheduler, running.job) == [running.job, waiting.job]


def test_a_waiting_job_that_is_cancelled_never_runs():
    scheduler, running, waiting, last = ready(), generate(), generate(), generate()
    for request in (running, waiting, last):
        scheduler.submit("a", request)
    answer, moved_up = scheduler.cancel("a", waiting.job)
    assert answer.message.code == "cancelled"
    assert moved_up.message == m.Progress(job=last.job, stage="queued", place=1)
    assert order_of_running(scheduler, running.job) == [running.job, last.job]


def test_a_running_job_that_is_cancelled_is_answered_by_the_worker():
    scheduler, request = ready(), generate()
    scheduler.submit("a", request)
    assert scheduler.cancel("a", request.job) == [Stop(request.job)]
    answer = m.Error(code="cancelled", message="The job was cancelled.", job=request.job)
    assert scheduler.from_worker(answer) == [Tell("a", answer)]


def test_cancelling_what_is_finished_unknown_or_another_sessions_does_nothing():
    scheduler, request = ready(), generate()
    scheduler.submit("a", request)
    assert scheduler.cancel("b", request.job) == []
    finish(scheduler, request.job)
    assert scheduler.cancel("a", request.job) == []
    assert scheduler.cancel("a", new_job()) == []


def test_a_lost_worker_ends_its_job_and_leaves_the_queue_as_it_was():
    scheduler, running, waiting = ready(), generate(), generate()
    scheduler.submit("a", running)
    scheduler.submit("b", waiting)
    (told,) = scheduler.worker_lost()
    assert (told.session, told.message.code, told.message.job) == ("a", "worker_lost", running.job)
    assert scheduler.jobs("a") == ()
    assert runs(scheduler.worker_ready()) == [waiting.job]


def test_a_worker_lost_while_cancelling_leaves_a_cancelled_job():
    scheduler, request = ready(), generate()
    scheduler.submit("a", request)
    scheduler.cancel("a", request.job)
    (told,) = scheduler.worker_lost()
    assert told.message.code == "cancelled"


def test_what_comes_after_the_final_answer_is_dropped():
    scheduler, request = ready(), generate()
    scheduler.submit("a", request)
    finish(scheduler, request.job)
    assert finish(scheduler, request.job) == []
    assert scheduler.from_worker(m.Progress(job=request.job, stage="painting")) == []


def test_a_session_has_so_many_jobs_and_is_told_when_it_is_one_too_many():
    scheduler = Scheduler(most_jobs=2)
    for _ in range(2):
        scheduler.submit("a", generate())
    extra = generate()
    (told,) = scheduler.submit("a", extra)
    assert (told.message.code, told.message.job) == ("rate_limited", extra.job)
    assert "2" in told.message.message
    other = generate()
    scheduler.submit("b", other)
    assert scheduler.jobs("b") == (other.job,)


def test_somebody_who_comes_back_hears_where_each_job_stands():
    scheduler, running, waiting, other = ready(), generate(), generate(), generate()
    scheduler.submit("a", running)
    scheduler.submit("a", waiting)
    scheduler.submit("b", other)
    progress = m.Progress(job=running.job, stage="painting", done=0.5)
    scheduler.from_worker(progress)
    assert scheduler.standing("a") == [
        m.Progress(job=waiting.job, stage="queued", place=2),
        progress,
    ]


def test_a_place_far_back_is_told_once_when_the_job_comes_and_again_near_the_head():
    scheduler = ready()
    running, *waiting = [generate() for _ in range(PLACES_TOLD + 3)]
    scheduler.submit("a", running)
    places = [
        next(a.message.place for a in scheduler.submit("a", one) if a.message.job == one.job)
        for one in waiting
    ]
    assert places == list(range(1, PLACES_TOLD + 3))
    told = {a.message.job: a.message.place for a in finish(scheduler, running.job)[2:]}
    assert told == {one.job: place for place, one in enumerate(waiting[1 : PLACES_TOLD + 1], 1)}


def test_so_many_jobs_of_all_sessions_wait_and_one_more_is_told_why_it_cannot():
    scheduler = Scheduler(most_waiting=3)
    for session in "abc":
        scheduler.submit(session, generate())
    extra = generate()
    (told,) = scheduler.submit("d", extra)
    assert (told.session, told.message.code, told.message.job) == ("d", "rate_limited", extra.job)
    assert told.message.message.startswith("3 jobs wait here already")


def test_many_cancelled_jobs_do_not_put_a_session_behind_the_others():
    scheduler, running = ready(), generate()
    scheduler.submit("a", running)
    regretted = [generate() for _ in range(20)]
    for request in regretted:
        scheduler.submit("a", request)
    mine, theirs = generate(), [generate() for _ in range(3)]
    scheduler.submit("a", mine)
    for request in theirs:
        scheduler.submit("b", request)
    for request in regretted:
        scheduler.cancel("a", request.job)
    ran = order_of_running(scheduler, running.job)
    assert ran == [running.job, theirs[0].job, mine.job, theirs[1].job, theirs[2].job]


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.booleans(), st.integers(0, 2)),
        min_size=1,
        max_size=60,
    )
)
@settings(max_examples=150, deadline=None)
def test_every_place_is_the_one_at_which_the_job_then_runs(steps):
    """steps: (session, interactive, how many run after it has come)."""
    queue, waiting = FairQueue(), []
    for number, (session, interactive, taken) in enumerate(steps):
        waiting.append(Entry(session, str(number), interactive))
        queue.add(waiting[-1])
        for _ in range(min(taken, len(queue) - 1)):
            waiting.remove(queue.pop())
        if number % 7 == 3:
            queue.remove(waiting.pop(len(waiting) // 2))
        if not waiting:
            continue
        first = list(queue.first(len(waiting)))
        assert [queue.place(entry) for entry in first] == list(range(1, len(waiting) + 1))
    places = {entry: queue.place(entry) for entry in waiting}
    ran = [queue.pop() for _ in range(len(queue))]
    assert ran == sorted(waiting, key=places.__getitem__)


def lines_run(call) -> int:
    """How many lines of Python ``call`` runs: a count of work that no machine's speed changes."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        return trace

    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(None)
    return count


def work_at(waiting: int) -> dict[str, int]:
    """Lines run by each event of the queue while ``waiting`` jobs of 60 a session wait."""
    scheduler = Scheduler(most_waiting=waiting + 10)
    scheduler.worker_ready()
    running = generate()
    scheduler.submit("first", running)
    jobs = [generate(variants=1 + number % 2) for number in range(waiting)]
    for number, request in enumerate(jobs):
        scheduler.submit(str(number // 60), request)
    new, middle = generate(), waiting // 2
    return {
        "submit": lines_run(lambda: scheduler.submit("new", new)),
        "cancel": lines_run(lambda: scheduler.cancel(str(middle // 60), jobs[middle].job)),
        "finish": lines_run(lambda: finish(scheduler, running.job)),
        "welcome": lines_run(lambda: (scheduler.jobs("new"), scheduler.standing("new"))),
    }


def test_an_event_of_the_queue_costs_hardly_more_with_10_000_jobs_than_with_100():
    few, many = work_at(120), work_at(10_000)
    assert {name: many[name] < 1.5 * few[name] + 60 for name in few} == dict.fromkeys(few, True), (
        few,
        many,
    )


class Queue(RuleBasedStateMachine):
    """Whatever happens in whatever order: each job has one final answer, and one job runs."""

    @initialize()
    def start(self):
        self.scheduler = Scheduler(most_jobs=5)
        self.known: dict[str, str] = {}
        self.finals: dict[str, int] = {}
        self.running: str | None = None

    def note(self, actions):
        for action in actions:
            if isinstance(action, Run):
                assert self.running is None
                self.running = action.request.job
            elif isinstance(action, Tell) and is_final(action.message):
                job = action.message.job
                assert action.session == self.known[job]
                self.finals[job] = self.finals.get(job, 0) + 1
                if job == self.running:
                    self.running = None

    @rule(session=st.sampled_from("abc"), variants=st.integers(1, 2))
    def submit(self, session, variants):
        request = generate(variants=variants)
        self.known[request.job] = session
        self.note(self.scheduler.submit(session, request))

    @rule(data=st.data())
    def cancel(self, data):
        if self.known:
            job = data.draw(st.sampled_from(list(self.known)))
            self.note(self.scheduler.cancel(self.known[job], job))

    @rule()
    def finish(self):
        if self.running is not None:
            job, self.running = self.running, None
            self.note(finish(self.scheduler, job))

    @rule()
    def lose_worker(self):
        job = self.running
        self.note(self.scheduler.worker_lost())
        assert self.running is None
        assert job is None or self.finals[job] == 1

    @rule()
    def worker_ready(self):
        self.note(self.scheduler.worker_ready())

    @invariant()
    def every_job_is_open_or_answered_once(self):
        for job, session in self.known.items():
            is_open = job in self.scheduler.jobs(session)
            assert self.finals.get(job, 0) == (0 if is_open else 1)


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_sessions_and_jobs_that_are_gone_leave_nothing_behind():
    # Pickled, whatever is still held is counted, wherever it is.
    scheduler = ready()

    def come_and_go(number):
        session = f"session {number:06}"
        requests = [generate() for _ in range(2)]
        for request in requests:
            scheduler.submit(session, request)
        scheduler.cancel(session, requests[1].job)
        finish(scheduler, requests[0].job)

    for number in range(10):
        come_and_go(number)
    before = len(pickle.dumps(scheduler))
    for number in range(500):
        come_and_go(10 + number)
    assert len(pickle.dumps(scheduler)) < before + 100
