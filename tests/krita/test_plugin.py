"""The plugin as a painter installs it, in a real Krita."""

from __future__ import annotations

from velatura.server import plugin_package


def test_the_installed_plugin_loads_with_its_docker_and_its_own_websockets(krita):
    assert krita.run("loads.py", shared=True).values["version"].startswith("16.")


def test_the_built_zip_is_imported_by_kritas_own_importer_and_loads(krita, tmp_path):
    archive = plugin_package.build(tmp_path / "velatura.zip")
    home = krita.new_home(plugin=False)
    env = {"VELATURA_ZIP": str(archive)}
    with krita.start(home=home, env=env) as first:
        first.run("imports.py")
    with krita.start(home=home) as second:
        second.run("loads.py")
        assert "Error loading plugin" not in second.log


def test_installing_again_replaces_the_plugin_and_keeps_the_settings(krita):
    home = krita.new_home()
    kritarc = home / ".config/kritarc"
    stale = home / ".local/share/krita/pykrita/velatura/krita_plugin/left_over.py"
    stale.write_text("raise SystemExit\n")
    before = kritarc.read_bytes()
    plugin_package.install_into(plugin_package.find_kritas({}, "linux", home)[0])
    assert not stale.exists()
    assert kritarc.read_bytes() == before
    with krita.start(home=home) as running:
        running.run("loads.py")
