"""The short form of `make campaign-install`: with the small uv, no network and a fixed chance."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import install_kills
import pytest
from workshop import fake, make_payload

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the small uv is a script")
_INSTALL = """
import json, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[4])
from workshop import plan_for
from velatura.krita_plugin.install.installer import Installer
from velatura.krita_plugin.install.troubles import Trouble
try:
    Installer(plan_for(Path(sys.argv[1]), Path(sys.argv[2])), Path(sys.argv[3])).install()
except Trouble as trouble:
    sys.exit(trouble.sentence)
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_works_in_the_end_and_nothing_half_starts(tmp_path):
    home, data, payload = tmp_path / "home", tmp_path / "data", make_payload(tmp_path / "payload")
    environ = fake(venv={"sleep": 0.3}, pip={"sleep": 0.5}, picture={"sleep": 0.4})
    environ.pop("PYTHONHOME")
    paths = json.dumps([str(Path(__file__).parent), *sys.path])

    def start():
        return subprocess.Popen(
            [sys.executable, "-c", _INSTALL, str(payload), str(home), str(data), paths],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    kinds = ("installer", "child", "everything")
    campaign = install_kills.Campaign(start, home, data, 2.0, kinds=kinds)
    chance = random.Random(4)
    for _ in range(8):
        campaign.round(chance)
    campaign.finish()
    assert campaign.faults == []
    assert any(", hit," in end for end in campaign.ends), campaign.ends
