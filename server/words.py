"""How the command line speaks: nothing that a file or a name holds moves the terminal's cursor."""

from __future__ import annotations

from typing import NoReturn

import typer

from .log import escape


def printable(text: str) -> str:
    """``text`` with line feeds and tabs, and everything else that does not print escaped.

    A picture's text or a file's name may hold what sets a terminal's title or runs its macros.
    """
    return "\n".join("\t".join(map(escape, line.split("\t"))) for line in text.split("\n"))


def say(text: str) -> None:
    typer.echo(printable(text))


def fail(sentence: str) -> NoReturn:
    """One sentence on standard error, and exit status 1."""
    typer.echo(printable(sentence), err=True)
    raise typer.Exit(1)
