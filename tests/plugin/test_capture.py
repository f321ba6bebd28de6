from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from easel import CLEAR, RED, WHITE, Easel, Sheet
from in_qt.tiny import MODEL as TINY
from velatura.krita_plugin import canvas, capture
from velatura.krita_plugin.capture import CaptureError, NothingOnLayer
from velatura.krita_plugin.state import DERIVED, LAYER, Guide, Settings
from velatura.protocol.region import Rect, Size

MODEL = replace(TINY, controls=("line",), samplers=("Euler a",), sampler="Euler a")
PAPER = Sheet("paper", (0, 0, 96, 80), WHITE)
MARK = Sheet("mark", (30, 20, 40, 30), RED, name="mark")


def easel(*sheets, selection=None, active=None):
    return Easel(96, 80, list(sheets), selection, active)


def request_of(document, action, settings=None, layer=None, most_pixels=10**9):
    settings = settings or Settings()
    seen = replace(canvas.look(document), layer=layer)
    plan = capture.plan(seen, action, settings, MODEL, most_pixels=most_pixels)
    pixels = capture.read(document, plan, settings)
    return capture.build_request(str(uuid.uuid4()), plan, pixels, settings, MODEL, 5)


@pytest.mark.parametrize(
    ("document", "action"),
    [
        (easel(), "generate"),
        (easel(PAPER), "generate"),
        (easel(PAPER, replace(MARK, visible=False)), "generate"),
        (easel(replace(PAPER, bounds=(-9, -9, 999, 999))), "generate"),
        (easel(PAPER, MARK), "refine"),
        (easel(MARK, selection=(Rect(1, 1, 9, 9), 255)), "fill"),
        (easel(replace(PAPER, bounds=(0, 0, 96, 60))), "expand"),
        (easel(replace(PAPER, bounds=(8, 8, 80, 64)), MARK), "expand"),
    ],
)
def test_the_action_follows_the_canvas(document, action):
    assert canvas.what_to_do(canvas.look(document)) == action


def test_a_sketch_on_a_transparent_canvas_is_refined_not_expanded():
    cross = (replace(MARK, bounds=(40, 20, 8, 40)), replace(MARK, id="b", bounds=(24, 36, 40, 8)))
    assert canvas.what_to_do(canvas.look(easel(*cross))) == "refine"


@pytest.mark.parametrize(
    ("painted", "empty"),
    [
        ((0, 0, 96, 60), Rect(0, 60, 96, 20)),
        ((0, 20, 96, 60), Rect(0, 0, 96, 20)),
        ((10, 0, 86, 80), Rect(0, 0, 10, 80)),
        ((0, 0, 61, 80), Rect(61, 0, 35, 80)),
        ((10, 10, 70, 60), Rect(0, 0, 96, 80)),
    ],
)
def test_the_empty_border_is_found_to_the_pixel(painted, empty):
    assert canvas.look(easel(replace(PAPER, bounds=painted))).empty == empty


def test_members_of_a_hidden_group_are_not_seen():
    group = Sheet("group", (0, 0, 0, 0), type="grouplayer", visible=False)
    hidden = replace(MARK, parent="group")
    assert canvas.look(Easel(96, 80, [PAPER, group, replace(hidden, colour=WHITE)])).blank


GROUP = Sheet("group", (0, 0, 0, 0), type="grouplayer")


@pytest.mark.parametrize(
    ("sheets", "active", "left_out", "is_cut_out"),
    [
        ([PAPER, MARK], "mark", (), False),
        ([MARK], "mark", (), True),
        ([replace(PAPER, visible=False), MARK], "mark", (), True),
        ([PAPER, MARK], "mark", ("paper",), True),
        ([PAPER, replace(MARK, visible=False)], "mark", (), False),
        ([replace(MARK, visible=False)], "mark", (), False),
        ([PAPER], "paper", (), False),
        ([MARK, replace(MARK, id="b")], "mark", (), False),
        ([GROUP, replace(MARK, parent="group")], "group", (), True),
        ([GROUP, replace(MARK, parent="group")], "mark", (), True),
        ([PAPER, GROUP, replace(MARK, parent="group")], "group", (), False),
        ([MARK, replace(MARK, id="b", type="transparencymask", parent="mark")], "b", (), False),
    ],
)
def test_only_a_layer_that_is_seen_alone_is_a_cut_out(sheets, active, left_out, is_cut_out):
    seen = canvas.look(easel(*sheets, active=active), left_out)
    assert seen.is_cut_out == is_cut_out
    assert canvas.suits_layer(seen, "refine") == is_cut_out
    assert not canvas.suits_layer(seen, "fill")


@pytest.mark.parametrize("lines", range(20))
def test_a_canvas_that_is_cleared_while_it_is_looked_at_is_looked_at_to_the_end(lines):
    document = easel(replace(PAPER, bounds=(8, 8, 80, 64)))
    read = document.read_projection

    def cleared(rect):
        if document.lines_read == lines:
            document.sheets[0].colour = CLEAR
        return read(rect)

    document.read_projection = cleared
    assert canvas.what_to_do(canvas.look(document)) in ("generate", "refine", "expand")


def test_looking_at_a_painted_canvas_costs_a_few_lines():
    document = easel(PAPER, replace(MARK, bounds=(0, 0, 96, 40)))
    canvas.look(document)
    assert document.lines_read < 50


def test_a_fill_sends_the_selection_with_its_surroundings_and_values():
    document = easel(PAPER, MARK, selection=(Rect(40, 30, 20, 20), 140))
    request = request_of(document, "fill", Settings(prompt="a boat", negative="fog"))
    assert request.action == "fill"
    assert request.region.contains(Rect(40, 30, 20, 20))
    assert request.surroundings.data == document.read_projection(request.region)
    assert request.source is None
    assert set(request.selection.data) == {0, 140}
    assert request.selection.data.count(140) == 400
    assert (request.prompt, request.negative, request.seed) == ("a boat", "fog", 5)
    assert (request.steps, request.guidance, request.sampler) == (7, 3.5, "Euler a")


def test_a_small_selection_on_a_large_canvas_sends_only_its_context():
    document = Easel(8000, 8000, [PAPER], (Rect(4000, 4000, 40, 40), 255))
    region = capture.plan(
        canvas.Canvas(document.size, document.selection_bounds()),
        "fill",
        Settings(),
        MODEL,
        most_pixels=10**9,
    ).region
    assert region.width <= 128
    assert region.height <= 128


def test_refining_a_selection_is_the_refine_of_the_protocol_with_a_selection():
    document = easel(PAPER, selection=(Rect(4, 4, 30, 30), 255))
    request = request_of(document, "refine_selection", Settings(strength=45))
    assert (request.action, request.strength) == ("refine", 0.45)
    assert request.selection is not None


def test_generate_and_expand_start_from_noise_whatever_the_slider_says():
    border = easel(replace(PAPER, bounds=(0, 0, 60, 80)))
    assert request_of(border, "expand", Settings(strength=30)).strength == 1.0
    assert request_of(easel(PAPER), "generate", Settings(strength=30)).strength == 1.0


def test_the_current_layer_is_sent_with_its_transparency_and_keeps_its_outline():
    document = easel(PAPER, MARK, active="mark")
    request = request_of(document, "refine", Settings(paint_from=LAYER), MARK)
    assert request.keep_outline
    assert request.source.data == document.read_layer("mark", request.region)
    assert request.surroundings.data == document.read_projection(request.region)


def test_an_opaque_layer_has_no_outline_to_keep():
    request = request_of(easel(PAPER, MARK), "refine", Settings(paint_from=LAYER), PAPER)
    assert not request.keep_outline


def test_a_guide_is_read_from_its_layer_even_while_it_is_hidden():
    document = easel(PAPER, replace(MARK, visible=False))
    guide = Guide("line", "mark", influence=80, start=10, end=60)
    control = request_of(document, "generate", Settings(guides=(guide,))).controls[0]
    assert (control.kind, control.weight, control.start, control.end) == ("line", 0.8, 0.1, 0.6)
    assert control.picture.data == document.read_layer("mark", Rect(0, 0, 96, 80))


@pytest.mark.parametrize(
    ("document", "action", "settings", "layer", "sentence"),
    [
        (easel(PAPER), "fill", Settings(), None, "Nothing is selected"),
        (easel(PAPER), "expand", Settings(), None, "no empty border"),
        (easel(MARK), "refine", Settings(paint_from=LAYER), None, "No layer is active"),
        (
            easel(MARK),
            "refine",
            Settings(paint_from=LAYER),
            replace(MARK, bounds=(0, 0, 0, 0)),
            '"mark" is empty: choose another layer, or paint from "Everything visible".',
        ),
        (
            easel(MARK),
            "refine",
            Settings(paint_from=LAYER),
            replace(MARK, type="transparencymask"),
            "is a mask",
        ),
        (
            easel(MARK),
            "refine",
            Settings(guides=(Guide("line", "gone"),)),
            None,
            "A guide's layer is not in this picture",
        ),
        (
            easel(MARK, selection=(Rect(4, 4, 9, 9), 0)),
            "fill",
            Settings(),
            None,
            "selection is empty",
        ),
    ],
)
def test_what_cannot_be_painted_is_said_in_one_sentence(
    document, action, settings, layer, sentence
):
    with pytest.raises(CaptureError, match=sentence):
        request_of(document, action, settings, layer)


def test_an_empty_layer_is_told_from_what_else_is_in_the_way():
    empty = replace(MARK, bounds=(0, 0, 0, 0))
    with pytest.raises(NothingOnLayer):
        request_of(easel(PAPER, MARK), "refine", Settings(paint_from=LAYER), empty)


def test_a_selection_that_krita_does_not_tell_is_asked_for_before_anything_is_sent():
    unclear = canvas.Canvas(Size(96, 80), limits=canvas.Limits(unclear="Sky"))
    for action in ("fill", "refine"):
        with pytest.raises(CaptureError, match='"Sky" has several selection masks'):
            capture.plan(unclear, action, Settings(), MODEL, most_pixels=10**9)


def test_a_guide_that_the_model_cannot_follow_is_named():
    settings = Settings(guides=(Guide("depth", "mark"),))
    with pytest.raises(CaptureError, match='of the kind "depth": switch the guide'):
        request_of(easel(PAPER, MARK), "refine", settings)
    off = replace(settings, guides=(Guide("depth", "mark", on=False),))
    assert request_of(easel(PAPER, MARK), "refine", off).controls == ()


def test_more_than_the_server_takes_is_refused_before_anything_is_read():
    document = easel(PAPER, MARK)
    with pytest.raises(CaptureError, match="96 x 80 pixels, is larger"):
        request_of(document, "refine", most_pixels=100)


def test_a_model_that_cannot_do_it_is_named():
    poor = replace(MODEL, actions=("generate",))
    with pytest.raises(CaptureError, match='"tiny" cannot Refine'):
        capture.plan(canvas.look(easel(MARK)), "refine", Settings(), poor, most_pixels=10**9)


@pytest.mark.parametrize(("side", "width"), [(20, 4), (512, 10), (4000, 32)])
def test_the_soft_edge_is_two_percent_between_four_and_thirty_two_pixels(side, width):
    assert capture.soft_edge(Rect(0, 0, side, 2 * side)) == width


def test_the_soft_edge_and_the_context_are_the_painters_when_they_say_so():
    document = Easel(400, 400, [PAPER, MARK], (Rect(150, 150, 40, 40), 255))
    own = request_of(document, "fill", Settings(soft_edge=0, context="tight"))
    assert (own.soft_edge, request_of(document, "fill").soft_edge) == (0, 4)
    wide = request_of(document, "fill", Settings(context="wide"))
    assert own.region.width < request_of(document, "fill").region.width < wide.region.width
    whole = request_of(document, "fill", Settings(context="whole"))
    assert whole.region == Rect(0, 0, 400, 400)


def test_the_outline_is_kept_unless_the_painter_says_no_or_paints_anew():
    free = Settings(paint_from=LAYER, keep_outline=False)
    assert not request_of(easel(PAPER, MARK), "refine", free, MARK).keep_outline
    selected = easel(PAPER, MARK, selection=(Rect(30, 20, 60, 30), 255))
    kept = Settings(paint_from=LAYER, strength=45)
    assert request_of(selected, "refine_selection", kept, MARK).keep_outline
    assert not request_of(selected, "fill", replace(kept, strength=100), MARK).keep_outline


@pytest.mark.parametrize(
    ("side", "strength", "times"),
    [(64, 100, 1.0), (70, 100, 1.0), (128, 100, 2.0), (128, 1, 1.0), (256, 1, 2.0)],
)
def test_an_enlargement_is_known_before_the_press(side, strength, times):
    settings = Settings(strength=strength)
    plan = capture.plan(
        canvas.Canvas(Size(side, side)), "refine", settings, MODEL, most_pixels=10**9
    )
    assert capture.enlargement(plan, settings, MODEL) == pytest.approx(times, rel=0.02)


def test_a_guide_from_the_picture_sends_no_layer():
    document = easel(PAPER, replace(MARK, id="line"))
    settings = Settings(guides=(Guide("line", "line"), Guide("line", DERIVED)))
    given, derived = request_of(document, "refine", settings).controls
    assert given.picture is not None
    assert (derived.kind, derived.picture) == ("line", None)


def test_with_full_detail_it_is_enlarged_less():
    model = replace(MODEL, finest=4 * MODEL.native**2)
    plan = capture.plan(
        canvas.Canvas(Size(256, 256)), "refine", Settings(), model, most_pixels=10**9
    )
    fast, full = (capture.enlargement(plan, Settings(detail=d), model) for d in ("fast", "full"))
    assert (fast, full) == (4, 2)
    document = Easel(256, 256, [PAPER], (Rect(100, 100, 40, 40), 255))
    assert request_of(document, "fill", Settings(detail="full")).detail == "full"


def test_guides_and_layers_left_out_are_not_part_of_the_source():
    document = easel(PAPER, replace(MARK, id="line"), replace(MARK, bounds=(0, 0, 9, 9)))
    settings = Settings(
        guides=(Guide("line", "line"), Guide("line", "mark", on=False)), leave_out=("mark",)
    )
    request = request_of(document, "refine", settings)
    assert set(request.surroundings.data) == {255}
    assert len(request.controls) == 1
    whole = Rect(0, 0, 96, 80)
    assert request.controls[0].picture.data == document.read_layer("line", whole)


def test_the_layer_that_is_painted_may_also_guide():
    document = easel(PAPER, MARK)
    settings = Settings(paint_from=LAYER, guides=(Guide("line", "mark"),))
    request = request_of(document, "refine", settings, MARK)
    assert request.surroundings.data == document.read_projection(request.region)


PAPER_AND_PAINT = (PAPER, replace(MARK, bounds=(0, 0, 70, 80)))


@pytest.mark.parametrize(
    ("document", "empty", "painted"),
    [
        (easel(*PAPER_AND_PAINT), Rect(70, 0, 26, 80), Rect(0, 0, 70, 80)),
        (
            easel(PAPER, replace(MARK, bounds=(9, 8, 70, 60))),
            Rect(0, 0, 96, 80),
            Rect(9, 8, 70, 60),
        ),
    ],
)
def test_the_white_of_an_enlarged_canvas_is_an_empty_border(document, empty, painted):
    seen = canvas.look(document)
    assert (seen.empty, seen.painted) == (empty, painted)
    assert canvas.what_to_do(seen) == "expand"


def test_a_drawing_on_white_paper_is_refined_not_expanded():
    across = replace(MARK, bounds=(20, 36, 50, 8))
    down = replace(MARK, id="b", bounds=(40, 20, 8, 40))
    assert canvas.what_to_do(canvas.look(easel(PAPER, across, down))) == "refine"


def test_the_white_border_is_sent_as_transparent_and_the_picture_as_it_is():
    document = easel(*PAPER_AND_PAINT)
    request = request_of(document, "expand")
    region, sent = request.region, bytes(request.surroundings.data)
    for y in range(region.height):
        for x in range(region.width):
            pixel = sent[4 * (y * region.width + x) :][:4]
            assert pixel == (RED if region.x + x < 70 else bytes(4)), (x, y)


@pytest.mark.parametrize(
    ("sides", "size", "empty", "origin"),
    [
        (canvas.Sides(right=32), Size(128, 80), Rect(96, 0, 32, 80), (0, 0)),
        (canvas.Sides(left=32), Size(128, 80), Rect(0, 0, 32, 80), (-32, 0)),
        (canvas.Sides(top=16, right=8), Size(104, 96), Rect(0, 0, 104, 96), (0, -16)),
    ],
)
def test_an_enlarged_canvas_is_painted_around_the_whole_picture(sides, size, empty, origin):
    document = easel(PAPER, MARK)
    seen = canvas.enlarged(canvas.look(document), sides)
    assert (seen.size, seen.empty, seen.origin) == (size, empty, origin)
    plan = capture.plan(seen, "expand", Settings(), MODEL, most_pixels=10**9)
    request = capture.build_request(
        str(uuid.uuid4()), plan, capture.read(document, plan, Settings()), Settings(), MODEL, 5
    )
    region, sent = request.region, bytes(request.surroundings.data)
    assert request.canvas == size
    for y in range(region.height):
        for x in range(region.width):
            at = (region.x + x + origin[0], region.y + y + origin[1])
            inside = 0 <= at[0] < 96 and 0 <= at[1] < 80
            expected = document.read_projection(Rect(*at, 1, 1)) if inside else bytes(4)
            assert sent[4 * (y * region.width + x) :][:4] == expected, (x, y)


def test_enlarging_adds_to_a_border_that_is_empty_already():
    seen = canvas.look(easel(replace(PAPER, bounds=(0, 0, 96, 60))))
    more = canvas.enlarged(seen, canvas.Sides(bottom=20))
    assert (more.empty, more.painted) == (Rect(0, 60, 96, 40), Rect(0, 0, 96, 60))
    assert canvas.enlarged(seen, canvas.NO_SIDES) is seen


def test_white_paper_under_a_visible_guide_is_still_blank():
    lines = replace(MARK, id="lines")
    paper, painted = easel(PAPER, lines), easel(PAPER, MARK, lines)
    assert canvas.what_to_do(canvas.look(paper)) == "refine"
    assert canvas.what_to_do(canvas.look(paper, {"lines"})) == "generate"
    assert canvas.what_to_do(canvas.look(painted, {"lines"})) == "refine"
    assert canvas.look(easel(lines), {"lines"}).blank
