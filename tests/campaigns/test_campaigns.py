"""The short forms of the campaigns; `make campaign-kills` and `make campaign-fuzz` run the long ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fuzz_messages
import kills


@pytest.mark.parametrize("what", kills.CAMPAIGNS)
def test_no_job_is_lost_or_painted_twice_whatever_is_killed(what):
    tally = kills.run(what, 4, seed=5)
    assert (tally.lost, tally.doubled, tally.orphans) == (0, 0, 0), tally
    assert tally.kills == 4
    assert tally.painted + tally.told == tally.jobs


def test_a_mutated_message_is_a_message_or_a_documented_refusal():
    told = fuzz_messages.fuzz_protocol(20_000, seed=3)
    assert sum(told.values()) == 20_000
    # The mutations reach what they are to reach.
    assert {"taken", "malformed", "invalid_field", "illegal_state", "unknown_type"} <= set(told)


def test_a_server_that_gets_mutated_messages_paints_for_the_others():
    assert fuzz_messages.fuzz_server(60, seed=4)["sent"] == 60
