"""Session ids are the server's, unguessable, bound to the token, and outlive the server."""

from __future__ import annotations

import os
from pathlib import Path

from velatura.server.sessions import Sessions


def open_sessions(folder: Path, token: str = "secret", age: float = 1000.0) -> Sessions:
    return Sessions(folder, token, age=age)


def test_a_session_is_resumed_after_a_restart(tmp_path):
    session = open_sessions(tmp_path).create()
    assert open_sessions(tmp_path).resume(session)


def test_ids_are_long_and_never_the_same(tmp_path):
    sessions = open_sessions(tmp_path)
    made = {sessions.create() for _ in range(50)}
    assert len(made) == 50
    assert all(len(session) >= 43 for session in made)


def test_a_session_of_another_token_is_unknown(tmp_path):
    session = open_sessions(tmp_path, "one").create()
    assert not open_sessions(tmp_path, "another").resume(session)


def test_what_the_disk_shows_does_not_open_a_session(tmp_path):
    sessions = open_sessions(tmp_path)
    session = sessions.create()
    (folder,) = tmp_path.iterdir()
    assert session not in folder.name
    assert not sessions.resume(folder.name)
    for name in ("", ".", "..", "../" + folder.name, str(folder)):
        assert not sessions.resume(name)


def test_sessions_that_nobody_used_are_forgotten_when_the_server_starts(tmp_path):
    sessions = open_sessions(tmp_path, age=100.0)
    old, used = sessions.create(), sessions.create()
    for session in (old, used):
        os.utime(tmp_path / sessions.key(session), (0, 0))
    assert sessions.resume(used)
    again = open_sessions(tmp_path, age=100.0)
    assert not again.resume(old)
    assert again.resume(used)


def test_a_session_that_is_needed_is_never_forgotten_whatever_the_clock_says(tmp_path):
    sessions = open_sessions(tmp_path)
    session = sessions.create()
    os.utime(tmp_path / sessions.key(session), (0, 0))
    again = Sessions(tmp_path, "secret", age=100.0, needed={sessions.key(session)}.__contains__)
    assert again.resume(session)


def test_beyond_so_many_the_session_that_was_used_longest_ago_ends_unless_it_is_needed(tmp_path):
    needed: set[str] = set()
    sessions = Sessions(tmp_path, "secret", age=100.0, needed=needed.__contains__, most=5)
    first, second, third = (sessions.create() for _ in range(3))
    needed.add(sessions.key(first))
    assert sessions.resume(second)
    for _ in range(3):
        sessions.create()
    assert not sessions.resume(third)
    assert sessions.resume(second)
    assert sessions.resume(first)
    for _ in range(50):
        sessions.create()
    assert sessions.resume(first)
    assert len(list(tmp_path.iterdir())) == 5


def test_what_is_not_a_session_is_left_alone(tmp_path):
    (tmp_path / ("b" * 32)).write_text("")
    (tmp_path / "link").symlink_to("/nonexistent")
    (tmp_path / "desktop.ini").write_text("")
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0), follow_symlinks=False)
    session = open_sessions(tmp_path).create()
    assert open_sessions(tmp_path).resume(session)
    assert len(list(tmp_path.iterdir())) == 4
