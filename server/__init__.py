"""The server: gateway, scheduler and the worker that paints."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("velatura")
