"""The command line. Each command imports what it needs when it runs: ``serve`` must be quick."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from velatura.protocol.discovery import (
    DEFAULT_PORT,
    Running,
    data_folder,
    read_running,
)

from . import models_cli
from .asking import AskError, connect_here, hear
from .words import fail, printable, say

# How long (s) a server may take to end.
_STOP_LIMIT = 20.0

app = typer.Typer(
    help="Generative layers for Krita.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
plugin = typer.Typer(help="Krita's side.", no_args_is_help=True)
app.add_typer(plugin, name="plugin")


def main() -> None:
    try:
        data_folder()
    except RuntimeError:
        sys.exit(
            "There is no home folder here: say where Velatura's data folder is, VELATURA_HOME."
        )
    app()


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = DEFAULT_PORT,
    listen_on_network: Annotated[
        bool, typer.Option(help="Let other machines connect. They need the token.")
    ] = False,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="A web origin that may connect, spelled exactly.")
    ] = None,
    models: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            help="Also use the models in this folder, of ComfyUI or A1111 too, this time. "
            "`velatura add` does it for good.",
        ),
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(min=0.01, help="The most memory that models may take, in GB."),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Paint without any acceleration; see `velatura doctor`.")
    ] = False,
    accelerate: Annotated[
        list[str] | None,
        typer.Option(help="Use an acceleration that is off unless asked for, by its name."),
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Turn one acceleration off, by its name.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM file, for TLS.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")] = None,
    end_with_input: Annotated[
        bool, typer.Option(help="End when standard input closes, as it does with who started it.")
    ] = False,
) -> None:
    """Start the server and stay until Ctrl-C."""
    if end_with_input:
        threading.Thread(target=_end_with_input, daemon=True).start()
    from . import app as server
    from .settings import Settings, StartError, bytes_of
    from .worker.runtime.switches import Switches

    try:
        switches = Switches(plain, frozenset(accelerate or ()), frozenset(without or ()))
    except ValueError as error:
        fail(str(error))
    try:
        settings = Settings(
            folder=data_folder(),
            host=host or ("0.0.0.0" if listen_on_network else "127.0.0.1"),
            port=port,
            listen_on_network=listen_on_network,
            origins=tuple(allow_origin or ()),
            models=tuple(models or ()),
            memory=None if memory is None else bytes_of(memory),
            switches=switches,
            certificate=certificate,
            key=key,
        )
        server.serve(settings, lambda running: _announce(running, settings.listen_on_network))
    except StartError as error:
        fail(str(error))


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _announce(running: Running, on_network: bool) -> None:
    # Plain text: rich would cost a tenth of the second in which a hello must be accepted.
    typer.secho(printable(f"Velatura listens at {running.url}"), bold=True)
    if on_network:
        say("Other machines can connect; their users need the token from the data folder.")
        if not running.tls:
            say("Pixels and token travel unencrypted: add --certificate and --key for TLS.")
    say(f"The log is in {data_folder() / 'server.log'}. Ctrl-C stops it.")
    sys.stdout.flush()


@app.command()
def ps() -> None:
    """Say what the server does."""
    from rich.console import Console
    from rich.table import Table

    try:
        running, client = connect_here()
    except AskError as error:
        fail(f"{error} {error.hint}".rstrip())
    with client:
        status, _ = hear(client)
    table = Table(box=None, show_header=False)
    for name, value in (
        ("Address", running.url),
        ("Process", str(running.pid)),
        ("Worker", f"{status.worker}  {status.reason}".strip()),
        ("Device", status.device or "-"),
        ("In memory", ", ".join(status.loaded) or "-"),
    ):
        table.add_row(name, printable(value))
    Console(highlight=False, markup=False).print(table)


@app.command()
def stop() -> None:
    """End the server that runs; finished pictures stay, jobs that run are lost."""
    import time

    try:
        running, client = connect_here()
        client.close()
    except AskError as error:
        if error.running is None:
            fail(str(error))
        running = error.running
    # It took our token: the process is the server and no other that got its number.
    try:
        os.kill(running.pid, signal.SIGTERM)
    except OSError as error:
        fail(f"The server, process {running.pid}, cannot be ended: {error.strerror}.")
    until = time.monotonic() + _STOP_LIMIT
    while read_running(data_folder()) == running:
        if time.monotonic() > until:
            fail(f"The server, process {running.pid}, did not end within {_STOP_LIMIT:.0f} s.")
        time.sleep(0.05)
    say("The server has stopped.")


for verb, name in (
    (models_cli.add, "add"),
    (models_cli.list_models, "list"),
    (models_cli.show, "show"),
    (models_cli.convert, "convert"),
):
    app.command(name)(verb)


@app.command()
def doctor() -> None:
    """Say what is installed, on which device it paints, and where everything lies."""
    from rich.console import Console

    from .doctor import examine

    console = Console(highlight=False, markup=False, soft_wrap=True)
    for what, how in examine(data_folder()):
        console.print(printable(f"{what:<14}{how}"))


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the pictures go.")] = Path("demo-out"),
) -> None:
    """Paint a few pictures through a real server, and check them."""
    try:
        from .demo.run import main as run
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("velatura."):
            raise
        fail("The demo is not part of an installed Velatura: run `make demo` in its source folder.")
    raise typer.Exit(run(folder))


@plugin.command()
def install(
    folder: Annotated[
        Path | None,
        typer.Option(help="Krita's resource folder; by default every Krita found is served."),
    ] = None,
) -> None:
    """Put the plugin into Krita and enable it."""
    from .plugin_package import PackageError
    from .plugin_package import install as put

    try:
        sentences = put(folder, launch=_launch())
    except PackageError as error:
        fail(str(error))
    for sentence in sentences:
        say(sentence)


def _launch() -> tuple[str, ...]:
    """The command for the plugin's Start server: no shell, and no PATH that Krita may not have."""
    return (sys.executable, "-m", "velatura.server.cli", "serve")


@plugin.command("build")
def build_zip(
    zip_path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("velatura.zip"),
) -> None:
    """Make the zip for Krita's Tools > Scripts > Import Python Plugin from File."""
    from .plugin_package import PackageError, build

    try:
        say(f"{build(zip_path)} is ready: Tools > Scripts > Import Python Plugin from File.")
    except PackageError as error:
        fail(str(error))


if __name__ == "__main__":
    main()
