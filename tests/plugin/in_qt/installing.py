"""The card that installs the server, with the small uv of workshop.py. Run by test_in_qt.py."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "install"))

from panels import click, find, heard
from velatura.krita_plugin import install_desk, state
from velatura.krita_plugin.install import view
from velatura.krita_plugin.install.installed import installed, used
from velatura.krita_plugin.install.machine import MACOS, Machine
from velatura.krita_plugin.state import LinkState
from velatura.protocol.discovery import read_launch
from workshop import HERE, NOTHING, fake, make_payload


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    def put(found):
        monkeypatch.setattr(install_desk, "this_machine", lambda: found)

    put(HERE)
    return put


@pytest.fixture
def told(monkeypatch):
    """What the small uv is told to do."""

    def tell(**how):
        monkeypatch.setenv("FAKE_UV", fake(**how)["FAKE_UV"])

    tell()
    return tell


class Desk:
    def __init__(self, app, panel, data, payload):
        self.app, self.panel = app, panel
        self.desk = install_desk.InstallDesk(panel.install, data, payload)
        self.starts, self.said = heard(self.desk.start_wanted), heard(self.desk.said)

    def until(self, condition, what, seconds=30):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, what
            self.app.processEvents()
            time.sleep(0.005)

    def offered(self):
        self.until(lambda: find(self.panel, "install").isVisible(), "the offer")
        return find(self.panel, "install_sentence").text()

    def done(self):
        self.until(lambda: self.starts, "the installation")


@pytest.fixture
def make(app, panel, folder, tmp_path, told):
    made = []

    def desk(payload=None, version="1.0.0"):
        found = payload or make_payload(tmp_path / f"payload-{version}-{len(made)}", version)
        made.append(Desk(app, panel, folder, found))
        return made[-1]

    yield desk
    for each in made:
        each.desk.end()


def test_a_plugin_that_came_without_a_server_shows_no_card(app, panel, folder, tmp_path):
    desk = install_desk.InstallDesk(panel.install, folder, tmp_path)
    app.processEvents()
    assert not panel.install.isVisible()
    assert not desk.can_manage


def test_the_card_says_what_install_does_where_for_what_and_how_much(make, panel, folder):
    sentence = make().offered()
    assert "500 MB" in sentence
    assert "1.8 GB" in sentence
    assert find(panel, "install_folder").text() == str(folder / "server")
    assert find(panel, "install_device").currentData() == "cpu"
    assert find(panel, "install").text() == "Install"


def test_another_device_changes_what_is_downloaded(make, panel):
    one = make()
    before = one.offered()
    combo = find(panel, "install_device")
    combo.setCurrentIndex(combo.findData("amd"))
    combo.activated.emit(combo.currentIndex())
    one.until(lambda: find(panel, "install_sentence").text() != before, "the other size")
    assert "5.0 GB" in find(panel, "install_sentence").text()


def test_one_press_installs_and_lets_the_server_start(make, panel, folder):
    one = make()
    one.offered()
    click(panel, "install")
    one.done()
    assert not panel.install.isVisible()
    assert read_launch(folder).command[0].startswith(str(folder / "server"))
    assert one.said == [("Installed. No graphics card: small pictures, about 2 s.",)]
    assert one.desk.can_manage


def test_while_it_works_the_bar_moves_and_cancel_gives_the_offer_back(make, panel, told, folder):
    told(pip={"sleep": 60})
    one = make()
    one.offered()
    click(panel, "install")
    one.until(lambda: "torch" in find(panel, "install_words").text(), "what comes")
    assert "0 MB of 10 MB" in find(panel, "install_words").text()
    assert find(panel, "install_progress").value() > 0
    click(panel, "install_cancel")
    assert "goes on with what has arrived" in one.offered()
    assert read_launch(folder) is None


def test_what_goes_wrong_is_one_sentence_and_retry_goes_on(make, panel, told, folder):
    told(pip={"code": 2, "say": "error: No space left on device (os error 28)"})
    one = make()
    one.offered()
    click(panel, "install")
    one.until(lambda: find(panel, "install_trouble").isVisible(), "the trouble")
    assert find(panel, "install_trouble").text().startswith("The disk is full")
    assert find(panel, "install").text() == "Retry"
    told()
    click(panel, "install")
    one.done()
    assert installed(folder / "server")


def test_a_newer_plugin_offers_to_update_and_not_now_leaves_everything(make, panel, folder):
    first = make()
    first.offered()
    click(panel, "install")
    first.done()
    second = make(version="2.0.0")
    assert "newer server (2.0.0)" in second.offered()
    assert find(panel, "install").text() == "Update"
    click(panel, "install_later")
    assert not panel.install.isVisible()
    assert used(folder, folder / "server").receipt.version == "1.0.0"


def test_a_new_server_that_does_not_start_gives_way_to_the_one_before(make, panel, folder):
    first = make()
    first.offered()
    click(panel, "install")
    first.done()
    second = make(version="2.0.0")
    second.offered()
    click(panel, "install")
    second.done()
    assert used(folder, folder / "server").receipt.version == "2.0.0"
    second.desk.link_changed(LinkState(state.CONNECTING, "The server is starting."))
    second.desk.link_changed(LinkState(state.NO_SERVER, "The server stopped (1): boom"))
    assert used(folder, folder / "server").receipt.version == "1.0.0"
    assert second.said[-1] == ("The new server did not start: the one before is used again.",)
    assert len(second.starts) == 2
    # Only once: what stops later has other causes.
    second.desk.link_changed(LinkState(state.NO_SERVER, "No server yet."))
    assert len(second.starts) == 2


def test_removal_asks_what_stays(make, panel, folder):
    one = make()
    one.offered()
    click(panel, "install")
    one.done()
    (folder / "models").mkdir()
    (folder / "results").mkdir()
    one.desk.ask_removal()
    find(panel, "keep_results").setChecked(False)
    assert find(panel, "install").text() == "Remove"
    click(panel, "install")
    one.until(lambda: ("The server is removed.",) in one.said, "the removal")
    assert not (folder / "server").exists()
    assert (folder / "models").exists()
    assert not (folder / "results").exists()
    assert "Install downloads" in one.offered()


def test_a_studios_settings_install_without_a_press(make, folder):
    (folder / "install.json").write_text(json.dumps({"unattended": True}))
    one = make()
    one.done()
    assert installed(folder / "server")


def test_what_was_removed_is_not_installed_again_at_once(make, panel, folder):
    (folder / "install.json").write_text(json.dumps({"unattended": True}))
    one = make()
    one.done()
    one.desk.ask_removal()
    click(panel, "install")
    one.until(lambda: ("The server is removed.",) in one.said, "the removal")
    assert "Install downloads" in one.offered()
    assert find(panel, "install").text() == "Install"
    assert installed(folder / "server") == []


def test_settings_that_cannot_be_used_are_said_by_their_field(make, panel, folder):
    (folder / "install.json").write_text(json.dumps({"unattended": "yes"}))
    make()
    assert "unattended must be" in find(panel, "install_sentence").text()
    assert not find(panel, "install").isVisible()


def test_an_intel_mac_reads_that_another_computers_server_is_the_way(make, panel, machine):
    machine(Machine(MACOS, "x86_64", (13,), **NOTHING))
    one = make()
    one.until(lambda: panel.install.isVisible(), "the card")
    assert "another computer" in find(panel, "install_sentence").text()
    assert not find(panel, "install").isVisible()


def test_with_another_computers_server_the_card_is_out_of_the_way(make, panel):
    one = make()
    one.offered()
    one.desk.follow(False)
    assert not panel.install.isVisible()
    one.desk.follow(True)
    assert panel.install.isVisible()


def test_start_is_offered_only_where_something_could_start(make, panel):
    one = make()
    one.desk.startable.connect(panel.connection.set_startable)
    panel.show_link(LinkState(state.NO_SERVER, "No server yet."))
    one.offered()
    assert not find(panel, "start_server").isVisible()
    click(panel, "install")
    one.done()
    assert find(panel, "start_server").isVisible()


def test_without_a_graphics_card_the_light_says_how_long_a_picture_takes(make, panel, folder):
    one = make()
    one.desk.slowness.connect(panel.connection.show_slowness)
    one.offered()
    click(panel, "install")
    one.done()
    receipt = next((folder / "server").glob("versions/*/receipt.json"))
    ready = LinkState(state.READY, "Ready on CPU with 2 threads.", "CPU with 2 threads")
    panel.show_link(ready)
    assert find(panel, "reason").text() == "Ready on CPU with 2 threads."  # "a brush" painted
    told = {**json.loads(receipt.read_text()), "paints_on": "CPU with 2 threads", "seconds": 4.2}
    receipt.write_text(json.dumps(told))
    one.desk.follow(True)
    words = "Ready. No graphics card: small pictures, about 4 s."
    assert find(panel, "reason").text() == words
    panel.connection.show_servers([("a1b2c3d4", "studio")], "a1b2c3d4")
    assert find(panel, "reason").text() == "studio: Ready on CPU with 2 threads."


def test_krita_that_ends_takes_the_installer_with_it(make, panel, told, folder):
    told(venv={"sleep": 60})
    one = make()
    one.offered()
    click(panel, "install")
    one.until(lambda: find(panel, "install_words").text().startswith("Python"), "the step")
    before = time.monotonic()
    one.desk.end()
    assert time.monotonic() - before < install_desk._END_LIMIT + 1
    assert not one.desk._is_busy
    assert installed(folder / "server") == []


def test_every_kind_of_the_card_fits_a_small_docker(app, panel):
    for kind in (view.OFFER, view.UPDATE, view.REMOVE, view.RUNNING, view.REFUSED):
        shown = view.CardView(
            kind, "a sentence " * 30, "trouble " * 9, "/a/b" * 60, (("cpu", "x"),)
        )
        panel.install.show_view(shown)
        app.processEvents()
        assert panel.minimumSizeHint().width() <= 260
        assert panel.install.width() <= 260
