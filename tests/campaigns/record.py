"""What a campaign found, kept as JSON with its date, its command and what it ran on."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def keep(path: Path, found: Mapping[str, Any]) -> None:
    """Write ``found`` to ``path``."""
    record = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}",
        "versions": {"websockets": importlib.metadata.version("websockets")},
        "python": platform.python_version(),
        "command": f"python tests/campaigns/{Path(sys.argv[0]).name}",
        "found": found,
    }
    path.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
