from __future__ import annotations

import uuid

from velatura.krita_plugin.ledger import Ledger
from velatura.protocol import messages as m
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect, Size

DOT = Image(1, 1, "rgba8", bytes(4))


def request():
    return m.Generate(
        job=str(uuid.uuid4()),
        action="generate",
        model="tiny",
        canvas=Size(1, 1),
        region=Rect(0, 0, 1, 1),
        surroundings=DOT,
        variants=2,
    )


def result(job, variant, last):
    return m.Result(job=job, variant=variant, seed=1, x=0, y=0, picture=DOT, recipe={}, last=last)


def asked():
    ledger, wanted = Ledger(), request()
    ledger.ask(wanted)
    return ledger, wanted


def test_a_request_that_the_server_does_not_know_goes_out_again_as_it_was():
    ledger, wanted = asked()
    assert ledger.resume(()) == ([wanted], [])


def test_a_request_that_the_server_knows_is_not_sent_twice():
    ledger, wanted = asked()
    assert ledger.resume((wanted.job,)) == ([], [])


def test_an_answered_request_is_not_sent_again():
    ledger, wanted = asked()
    ledger.take(result(wanted.job, 0, True))
    assert ledger.resume(()) == ([], [])


def test_a_variant_is_handed_over_once():
    ledger, wanted = asked()
    assert ledger.take(result(wanted.job, 0, False))
    assert not ledger.take(result(wanted.job, 0, False))
    assert ledger.take(result(wanted.job, 1, True))
    assert not ledger.take(result(wanted.job, 1, True))


def test_nothing_is_acknowledged_before_all_of_it_is_placed():
    ledger, wanted = asked()
    job = wanted.job
    ledger.take(result(job, 0, False))
    ledger.placed(job, 0)
    assert ledger.acknowledgement(job) is None
    ledger.take(result(job, 1, True))
    assert ledger.acknowledgement(job) is None
    ledger.placed(job, 1)
    assert ledger.acknowledgement(job) == m.Acknowledge(job=job)
    assert ledger.acknowledgement(job) is None


def test_a_lost_acknowledgement_is_sent_again():
    ledger, wanted = asked()
    ledger.take(result(wanted.job, 0, True))
    ledger.placed(wanted.job, 0)
    ledger.acknowledgement(wanted.job)
    assert ledger.resume((wanted.job,)) == ([m.Acknowledge(job=wanted.job)], [])


def test_an_error_ends_a_job_once_and_is_acknowledged():
    ledger, wanted = asked()
    error = m.Error(code="internal", message="No.", job=wanted.job)
    assert ledger.take(error)
    assert not ledger.take(error)
    assert ledger.acknowledgement(wanted.job) == m.Acknowledge(job=wanted.job)


def test_a_cancel_that_was_lost_is_sent_again_or_the_job_is_over():
    ledger, wanted = asked()
    assert ledger.cancel(wanted.job)
    assert ledger.resume((wanted.job,)) == ([m.Cancel(job=wanted.job)], [])
    assert ledger.resume(()) == ([], [wanted.job])
    assert ledger.resume(()) == ([], [])


def test_a_job_cancelled_without_a_connection_is_cancelled_at_the_server_later():
    ledger, wanted = asked()
    assert ledger.abandon(wanted.job)
    assert ledger.resume((wanted.job,)) == ([m.Cancel(job=wanted.job)], [])
    assert not ledger.take(m.Error(code="cancelled", message="Cancelled.", job=wanted.job))


def test_cancelling_what_is_over_does_nothing():
    ledger, wanted = asked()
    ledger.take(result(wanted.job, 0, True))
    assert not ledger.cancel(wanted.job)
    assert not ledger.abandon(wanted.job)


def test_a_result_of_an_earlier_krita_is_taken_and_acknowledged():
    ledger, job = Ledger(), str(uuid.uuid4())
    assert ledger.take(result(job, 0, True))
    ledger.placed(job, 0)
    assert ledger.acknowledgement(job) == m.Acknowledge(job=job)
