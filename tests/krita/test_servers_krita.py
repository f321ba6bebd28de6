"""Servers by name, and what a painter set once, in a real Krita with real server processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving import Server


@pytest.fixture
def make_server(tmp_path: Path, models: Path) -> Iterator[Callable[[str], Server]]:
    made: list[Server] = []

    def make(name: str) -> Server:
        made.append(Server(tmp_path / name, models).start())
        return made[-1]

    yield make
    for server in made:
        server.close()


def address(server: Server) -> dict[str, str]:
    """What a painter has to type, for the script."""
    running = server.running
    assert running is not None
    token = (server.folder / "token").read_text("ascii").strip()
    return {"KT_ADDRESS": f"{running.host}:{running.port}", "KT_TOKEN": token}


def test_two_servers_paint_for_one_painter_and_nothing_is_lost(krita, make_server):
    here, there = make_server("here"), make_server("there")
    home = krita.new_home()
    with krita.start(env=here.environment, home=home) as first:
        test = "switches_while_one_paints"
        first.run("servers.py", test, env=address(there), timeout=250)
    stored = json.loads((here.folder / "settings.json").read_text("utf-8"))
    assert [each["name"] for each in stored["servers"]] == ["studio"]
    with krita.start(env=here.environment, home=home) as second:
        second.run("servers.py", "is_with_the_chosen_server_after_a_restart", timeout=150)


def test_what_keeps_a_server_away_is_one_sentence_in_the_docker(krita, make_server):
    here, there = make_server("here"), make_server("there")
    with krita.start(env=here.environment) as running:
        test = "says_what_keeps_a_server_away"
        running.run("servers.py", test, env=address(there), timeout=150)


def test_the_menu_starts_the_server_and_the_canvas_tells_when_it_can_paint(krita, make_server):
    here = make_server("here")
    here.close()
    here.write_launch()
    with krita.start(env=here.environment) as running:
        test = "starts_the_server_and_tells_when_it_can_paint"
        running.run("servers.py", test, timeout=200)


def test_what_was_set_once_is_there_at_the_next_start(krita, make_server):
    here = make_server("here")
    home = krita.new_home()
    with krita.start(env=here.environment, home=home) as first:
        first.run("servers.py", "sets_what_it_begins_with", timeout=150)
        first.run("servers.py", "quits")
        first.process.wait(30)
    with krita.start(env=here.environment, home=home) as second:
        second.run("servers.py", "begins_with_what_was_set", timeout=150)


def test_a_broken_settings_file_is_kept_aside_and_said(krita, make_server):
    here = make_server("here")
    (here.folder / "settings.json").write_text('{"variants": 3', "utf-8")
    with krita.start(env=here.environment) as running:
        running.run("servers.py", "says_that_its_settings_were_damaged", timeout=150)
    assert (here.folder / "settings.broken-1.json").read_text("utf-8") == '{"variants": 3'
