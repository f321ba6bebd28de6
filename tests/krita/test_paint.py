"""From a press in Krita to a layer, through a real server, worker and model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving import Server


@pytest.fixture
def make_server(tmp_path: Path, models: Path) -> Iterator[Callable[[], Server]]:
    made: list[Server] = []

    def make() -> Server:
        made.append(Server(tmp_path / "velatura", models))
        return made[-1]

    yield make
    for server in made:
        server.close()


def test_a_press_fills_the_selection_with_a_new_layer_and_changes_nothing_else(paint):
    paint("fills_a_hard_selection")


def test_a_soft_selection_limits_the_layer_pixel_by_pixel(paint):
    paint("fills_a_soft_selection")


def test_below_full_strength_a_selection_is_refined(paint):
    paint("refines_a_selection_below_full_strength")


def test_refining_the_current_layer_stays_inside_its_outline_and_lies_above_it(paint):
    paint("refines_the_current_layer")


def test_an_empty_border_is_painted_whole_and_the_picture_stays(paint):
    paint("expands_over_an_empty_border")


def test_an_empty_canvas_is_painted_from_the_prompt(paint):
    paint("generates_on_an_empty_canvas")


def test_enter_paints_and_alt_enter_breaks_the_line(paint):
    paint("breaks_lines_and_paints_on_enter")


def test_cancel_leaves_the_canvas_the_history_and_the_next_press_as_they_were(paint):
    paint("cancels")


def test_all_that_waits_is_cancelled_at_once(paint):
    paint("cancels_all_that_waits")


def test_retry_asks_again_for_all_that_failed(paint):
    paint("asks_again_for_all_that_failed")


def test_of_several_variants_the_painter_keeps_one(paint):
    paint("keeps_one_variant_of_three")


def test_a_picture_comes_back_to_the_document_it_was_asked_from(paint):
    paint("comes_back_to_the_document_it_was_asked_from")


def test_the_picture_of_a_closed_document_waits_for_the_painter(paint):
    paint("waits_when_its_document_was_closed")


def test_a_picture_that_waits_says_so_when_its_document_is_closed(paint):
    paint("waits_when_its_document_is_closed_before_it_is_kept")


def test_a_layer_deleted_meanwhile_costs_nothing(paint):
    paint("lies_on_top_when_its_layer_was_deleted")


def test_the_picture_of_a_resized_canvas_waits_for_the_painter(paint):
    paint("waits_when_the_canvas_was_resized")


@pytest.mark.parametrize(
    "promise",
    ["says_that_a_canvas_is_too_large", "keeps_a_picture_whose_canvas_becomes_too_large"],
)
def test_a_canvas_beyond_the_largest_side(paint, promise):
    paint(promise, "too_large.py")


def test_a_picture_is_scaled_like_its_canvas_if_the_painter_wants(paint):
    paint("offers_to_scale_a_picture_like_its_canvas")


def test_a_sentence_leaves_when_what_it_asks_for_is_done(paint):
    paint("asks_for_the_sides_until_there_are_some")


def test_what_is_in_the_way_is_said_in_a_line_with_retry(paint):
    paint("says_what_is_in_the_way")


def test_the_docker_starts_the_server(krita, make_server):
    server = make_server()
    server.write_launch()
    with krita.start(env=server.environment) as running:
        running.run("outages.py", "starts_the_server_from_the_docker", timeout=200)


def test_a_server_that_starts_after_krita_is_found(krita, make_server, tmp_path):
    server = make_server()
    wanted = tmp_path / "wanted"

    def start() -> None:
        until = time.monotonic() + 240
        while not wanted.exists() and time.monotonic() < until:
            time.sleep(0.05)
        server.start()

    starter = threading.Thread(target=start)
    starter.start()
    try:
        with krita.start(env={**server.environment, "KT_SIGNAL": str(wanted)}) as running:
            running.run("outages.py", "finds_a_server_that_starts_later", timeout=150)
    finally:
        wanted.touch()
        starter.join()


def test_a_job_that_a_killed_server_had_not_finished_is_asked_for_again(krita, make_server):
    server = make_server()
    server.write_launch()
    server.start()
    with krita.start(env=server.environment) as running:
        test = "survives_a_server_killed_before_anything_was_finished"
        running.run("outages.py", test, timeout=250)


def test_a_server_that_is_gone_does_not_take_krita_with_it(paint):
    paint("survives_writing_to_a_server_that_is_gone", "outages.py")


def test_a_killed_server_costs_nothing_once_it_is_started_again(krita, make_server):
    server = make_server()
    server.write_launch()
    server.start()
    with krita.start(env=server.environment) as running:
        running.run("outages.py", "survives_a_killed_server", timeout=250)


def test_a_picture_asked_for_before_krita_crashed_is_there_after_the_restart(krita, make_server):
    server = make_server().start()
    home = krita.new_home()
    with krita.start(env=server.environment, home=home) as first:
        first.run("outages.py", "asks_and_is_killed", timeout=150)
        first.kill()
    with krita.start(env=server.environment, home=home) as second:
        second.run("outages.py", "finds_it_again", timeout=150)
