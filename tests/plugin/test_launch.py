"""How the server is started from inside Krita."""

from __future__ import annotations

from velatura.krita_plugin.launch import detached, server_environment


def test_on_windows_no_console_window_opens_for_the_server_or_for_what_it_starts():
    flags = detached("win32")["creationflags"]
    assert flags & 0x08000000  # CREATE_NO_WINDOW: children share the console that nobody sees
    assert not flags & 0x00000008  # DETACHED_PROCESS: each child would open one
    assert flags & 0x00000200


def test_elsewhere_it_leaves_kritas_session():
    assert detached("linux") == detached("darwin") == {"start_new_session": True}


def test_what_an_appimage_sets_for_itself_stays_in_krita():
    inside = {"PYTHONHOME": "/tmp/.mount", "LD_LIBRARY_PATH": "/tmp/.mount", "HOME": "/home/a"}
    assert server_environment(inside) == {"HOME": "/home/a"}
