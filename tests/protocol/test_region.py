"""The part of the canvas that is sent: inside the canvas, around the selection, no larger."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from velatura.protocol.region import CONTEXTS, Rect, Size, context_region, mask_growth

canvases = st.builds(Size, width=st.integers(1, 9000), height=st.integers(1, 9000))
rects = st.builds(
    Rect,
    x=st.integers(-500, 9000),
    y=st.integers(-500, 9000),
    width=st.integers(1, 9000),
    height=st.integers(1, 9000),
)


@given(
    canvases,
    rects,
    st.floats(0, 1),
    st.sampled_from((128, 512, 1024)),
    st.sampled_from(CONTEXTS),
)
def test_the_region_holds_the_selection_and_stays_inside_the_canvas(
    canvas, selection, strength, native, context
):
    whole = Rect(0, 0, canvas.width, canvas.height)
    visible = whole.intersection(selection)
    assume(visible is not None)
    region = context_region(canvas, selection, strength, native, context)
    assert whole.contains(region)
    assert region.contains(visible)


def test_no_selection_means_the_whole_canvas():
    assert context_region(Size(300, 200), None, 1.0, 128) == Rect(0, 0, 300, 200)
    assert context_region(Size(300, 200), Rect(1, 1, 9, 9), 1.0, 128, "whole") == Rect(
        0, 0, 300, 200
    )


def test_a_small_selection_on_a_huge_canvas_costs_only_its_context():
    region = context_region(Size(8000, 8000), Rect(4000, 4000, 300, 300), 1.0, 512)
    assert region.width * region.height <= 700 * 700


def test_a_selection_below_the_native_size_gets_context_instead_of_enlargement():
    region = context_region(Size(2000, 2000), Rect(900, 900, 40, 40), 1.0, 512)
    assert (region.width, region.height) == (512, 512)
    tight = context_region(Size(2000, 2000), Rect(900, 900, 40, 40), 1.0, 512, "tight")
    assert tight.width < 128


@given(st.integers(20, 2000), st.integers(20, 2000), st.floats(0, 1))
def test_the_mask_s_growth_fits_inside_the_region(width, height, strength):
    selection = Rect(3000, 3000, width, height)
    region = context_region(Size(8000, 8000), selection, strength, 128, "tight")
    margin = sum(mask_growth(width, height))
    assert region.x <= selection.x - margin
    assert region.right >= selection.right + margin


def test_a_long_selection_is_sent_with_its_surroundings_not_as_a_strip():
    region = context_region(Size(4000, 4000), Rect(500, 2000, 3000, 50), 1.0, 512)
    assert region.width <= 2 * region.height


def test_a_strip_gets_context_until_one_side_is_twice_the_other():
    wide = context_region(Size(8000, 8000), Rect(2000, 4000, 3000, 50), 1.0, 512, "tight")
    assert (wide.width, wide.height) == (3600, 1800)
    tall = context_region(Size(8000, 8000), Rect(4000, 2000, 50, 3000), 1.0, 512, "tight")
    assert (tall.width, tall.height) == (1800, 3600)


def test_a_selection_outside_the_canvas_is_refused():
    with pytest.raises(ValueError, match="outside the canvas"):
        context_region(Size(100, 100), Rect(200, 0, 5, 5), 1.0, 128)
