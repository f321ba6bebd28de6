"""Runs inside Krita: takes test scripts from the harness, and helps them."""

import os

from krita import Krita

from .painting import *  # noqa: F403
from .stepping import Until, refused, report, say, until
from .widgets import *  # noqa: F403

__all__ = ["Until", "refused", "report", "say", "until"]

if "KT_FOLDER" in os.environ:
    from .runner import Runner

    Krita.instance().addExtension(Runner(Krita.instance()))
