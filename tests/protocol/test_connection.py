"""The tables of the conversation are the whole truth, on both sides."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from velatura.protocol import messages as m
from velatura.protocol.connection import (
    ABSENT,
    CONVERSATION,
    JOB,
    OPEN,
    READY,
    Connection,
)
from velatura.protocol.errors import LocalError, RemoteError
from velatura.protocol.messages import CLIENT, SERVER
from velatura.protocol.pixels import Image

from .strategies import MESSAGES, generates, new_job

HELLO = m.Hello(version=m.VERSION, client="test")
LIMITS = m.Limits(message_bytes=1 << 20, picture_pixels=1 << 20, jobs=4)
PIXEL = Image(1, 1, "rgba8", b"rgba")


def welcome(**change) -> m.Welcome:
    return m.Welcome(version=m.VERSION, server="test", session="s", limits=LIMITS, **change)


def result(job: str, last: bool = True) -> m.Result:
    return m.Result(job=job, variant=0, seed=1, x=0, y=0, picture=PIXEL, recipe={}, last=last)


def pair(**change) -> dict[str, Connection]:
    sides = {CLIENT: Connection(CLIENT), SERVER: Connection(SERVER)}
    pass_on(sides, HELLO)
    pass_on(sides, welcome(**change))
    return sides


def pass_on(sides: dict[str, Connection], message: m.Message) -> m.Message:
    other = sides[SERVER if message.sender == CLIENT else CLIENT]
    return other.receive(b"".join(sides[message.sender].send(message)))


def test_every_message_stands_in_exactly_one_table():
    in_conversation = {cls for _, cls in CONVERSATION}
    in_jobs = {cls for _, cls in JOB}
    assert in_conversation | in_jobs == set(m.TYPES.values())
    assert in_conversation & in_jobs == {m.Error}  # with and without a job


@pytest.mark.parametrize("cls", m.TYPES.values(), ids=m.TYPES)
def test_only_its_sender_sends_a_message(cls):
    @given(MESSAGES[cls])
    @settings(max_examples=3, deadline=None)
    def only_sender(message):
        wrong = SERVER if message.sender == CLIENT else CLIENT
        with pytest.raises(LocalError) as caught:
            pair()[wrong].send(message)
        assert caught.value.code == "illegal_state"

    only_sender()


@pytest.mark.parametrize("state", sorted({state for state, _ in CONVERSATION}))
@pytest.mark.parametrize("cls", m.TYPES.values(), ids=m.TYPES)
def test_what_is_not_in_the_table_is_refused_and_changes_nothing(state, cls):
    @given(MESSAGES[cls])
    @settings(max_examples=3, deadline=None)
    def check(message):
        job = getattr(message, "job", None)
        legal = (
            (state, cls) in CONVERSATION if job is None else state == READY and (ABSENT, cls) in JOB
        )
        connection = Connection(message.sender)
        connection.state = state
        if legal:
            connection.send(message)
            return
        with pytest.raises(LocalError):
            connection.send(message)
        assert connection.state == state
        assert job is None or connection.job_state(job) == ABSENT

    check()


@given(generates())
@settings(max_examples=10, deadline=None)
def test_a_job_is_open_until_its_last_result(request):
    sides = pair()
    pass_on(sides, request)
    with pytest.raises(LocalError):
        sides[CLIENT].send(request)
    pass_on(sides, result(request.job, last=False))
    pass_on(sides, result(request.job))
    with pytest.raises(LocalError):
        sides[SERVER].send(result(request.job))
    pass_on(sides, m.Acknowledge(job=request.job))
    pass_on(sides, m.Cancel(job=request.job))  # it may have crossed the last result


def test_an_error_with_a_job_is_its_final_answer():
    sides, job = pair(), new_job()
    pass_on(sides, m.Annotate(job=job, kind="line", picture=PIXEL))
    assert sides[SERVER].job_state(job) == OPEN
    pass_on(sides, m.Error(code="cancelled", message="Cancelled.", job=job))
    assert sides[CLIENT].job_state(job) == ABSENT


def test_jobs_of_the_welcome_are_open_without_being_sent():
    job = new_job()
    sides = pair(jobs=(job,))
    assert pass_on(sides, result(job)).job == job


def test_too_many_jobs_at_once_are_refused():
    connection = Connection(CLIENT, most_jobs=2)
    connection.state = READY
    for _ in range(2):
        connection.send(m.Annotate(job=new_job(), kind="line", picture=PIXEL))
    with pytest.raises(LocalError) as caught:
        connection.send(m.Annotate(job=new_job(), kind="line", picture=PIXEL))
    assert caught.value.code == "rate_limited"


def test_the_welcome_s_encoding_is_used_from_then_on():
    sides = pair(encoding="zlib")
    job = new_job()
    parts = sides[CLIENT].send(
        m.Annotate(job=job, kind="line", picture=Image(64, 64, "rgba8", bytes(64 * 64 * 4)))
    )
    assert sum(map(len, parts)) < 1000
    assert sides[SERVER].receive(b"".join(parts)).picture.width == 64


@given(st.lists(st.sampled_from(sorted(m.TYPES)), max_size=12), st.data())
@settings(max_examples=60, deadline=None)
def test_two_sides_always_agree_on_the_state(types, data):
    sides = pair()
    jobs = [new_job() for _ in range(2)]
    for kind in types:
        message = data.draw(MESSAGES[m.TYPES[kind]])
        if getattr(message, "job", None) is not None:
            message = type(message)(**{**vars(message), "job": data.draw(st.sampled_from(jobs))})
        try:
            pass_on(sides, message)
        except LocalError:
            pass
        except RemoteError as error:  # the sender's table allowed what the receiver's did not
            raise AssertionError(error) from error
        for job in jobs:
            assert len({side.job_state(job) for side in sides.values()}) == 1
        assert len({side.state for side in sides.values()}) == 1


def test_each_job_state_can_end():
    reachable = {state: {state} for state, _ in JOB}
    for _ in range(len(reachable)):
        for (before, _cls), after in JOB.items():
            reachable[before] |= reachable[after]
    assert all(ABSENT in ends for ends in itertools.chain(reachable.values()))
