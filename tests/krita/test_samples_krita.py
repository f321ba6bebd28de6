"""What painters saved with earlier versions opens in a real Krita, with everything it says."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "promise",
    [
        "a_fill_with_a_guide_under_a_mask",
        "an_expansion",
        "a_fill_in_two_passes",
    ],
)
def test_a_saved_file_opens(paint, promise):
    paint(promise, "samples.py")
