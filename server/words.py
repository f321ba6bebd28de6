"""How the command line says that something did not work."""

from __future__ import annotations

from typing import NoReturn

import typer


def fail(sentence: str) -> NoReturn:
    """One sentence on standard error, and exit status 1."""
    typer.echo(sentence, err=True)
    raise typer.Exit(1)
