"""Session ids are the server's, unguessable, bound to the token, and outlive the server."""

from __future__ import annotations

import os
from pathlib import Path

from velatura.server import sessions as module
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


def test_sessions_that_nobody_used_are_forgotten(tmp_path, monkeypatch):
    sessions = open_sessions(tmp_path, age=100.0)
    old, used = sessions.create(), sessions.create()
    for session in (old, used):
        os.utime(tmp_path / sessions.key(session), (0, 0))
    assert sessions.resume(used)
    sessions.forget_old()
    assert not sessions.resume(old)
    assert sessions.resume(used)
    monkeypatch.setattr(module, "MOST", 0)
    sessions.forget_old()
    assert not sessions.resume(used)
