"""The command line's verbs about models: add, list, show, convert."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from velatura.models.errors import ModelError
from velatura.models.loras import FAMILY_OF_WIDTH
from velatura.models.places import CHECKPOINT, CONTROLNET, EMBEDDING, LORA, find_places
from velatura.protocol.discovery import data_folder, read_model_folders, write_model_folders
from velatura.protocol.errors import LocalError

from .asking import ask_catalogue
from .settings import model_folders
from .words import fail, printable, say

if TYPE_CHECKING:
    from velatura.models.snapshot import Entry, Snapshot

# Each verb imports the library when it runs: ``serve`` must be quick.
_GB = 10**9
_NAMES = {LORA: "LoRAs", EMBEDDING: "Embeddings", CONTROLNET: "ControlNets"}
_UNETS = {"": "base", "inpaint": "inpaint (9 channels)", "depth": "depth (5 channels)"}
_LARGEST_PNG = 256 << 20


def add(
    path: Annotated[
        Path,
        typer.Argument(
            help="A folder with models, a ComfyUI, an A1111, an extra_model_paths.yaml."
        ),
    ],
    remove: Annotated[bool, typer.Option("--remove", help="Use them no longer.")] = False,
) -> None:
    """Use the models in PATH from now on; they stay where they are."""
    folder, path = data_folder(), path.expanduser().absolute()
    known = read_model_folders(folder)
    if remove:
        if path not in known:
            there = ", ".join(map(str, known)) or "none"
            fail(f"{path} was not added; these were: {there}.")
        write_model_folders(folder, [one for one in known if one != path])
        say(f"{path} is used no longer. Its files were not touched.")
        return
    if not path.exists():
        fail(f"{path} is not there: check the spelling.")
    from velatura.models.library import Library

    seen = Library([path], starter=folder / "none").snapshot()
    counts = {kind: len(seen.of_kind(kind)) for kind in (CHECKPOINT, *_NAMES)}
    try:
        write_model_folders(folder, dict.fromkeys((*known, path)))
    except LocalError as error:
        fail(f"{path} cannot be added: {error.message}")
    what = ", ".join(f"{counts[kind]} {name}" for kind, name in _NAMES.items() if counts[kind])
    models = len(seen.models)
    say(
        f"{path} is read as {_label(path)}: {models} of {counts[CHECKPOINT]} models can paint"
        + (f"; {what}" if what else "")
        + "."
    )
    if models < counts[CHECKPOINT]:
        say("velatura list says why the others cannot.")


def _label(path: Path) -> str:
    labels = {place.label for place in find_places(path) if not place.flat}
    return " and ".join(sorted(labels)) or "a folder of models"


def list_models() -> None:
    """List the models that can paint, what goes with them, and why the rest cannot.

    A server that runs is asked first: it may have been started with more folders.
    """
    from rich.console import Console
    from rich.table import Table
    from velatura.models.styles import SHIPPED, Styles

    console = Console(highlight=False, markup=False, soft_wrap=True)
    seen = _look()
    table = Table("Model", "Family", "Native", "Guides", "Sampler", "Steps", box=None)
    for model in ask_catalogue() or seen.models:
        row = (
            model.name,
            model.family,
            str(model.native),
            ", ".join(model.controls) or "-",
            model.sampler,
            str(model.steps),
        )
        table.add_row(*map(printable, row))
    console.print(table)
    for kind, name in _NAMES.items():
        usable = [item.name for item in seen.of_kind(kind) if not item.reason]
        if kind in (LORA, EMBEDDING):
            usable = [
                f"{one.name} ({FAMILY_OF_WIDTH.get(one.text_width, one.text_width)})"
                for one in seen.addons
                if one.kind == kind and not one.reason
            ]
        if usable:
            console.print(printable(f"\n{name}: {', '.join(usable)}"))
    styles = Styles([data_folder() / "styles", SHIPPED])
    names = ", ".join(style.name for style in styles.styles())
    console.print(printable(f"\nStyles: {names}"))
    reasons = [*(other.reason for other in seen.unusable), *styles.unusable()]
    reasons += [
        f"{name.removesuffix('s')} '{item.name}': {item.reason}"
        for kind, name in _NAMES.items()
        for item in seen.addons
        if item.reason and item.kind == kind
    ]
    if reasons:
        console.print("\nCannot be used:")
        for reason in reasons:
            console.print(printable(f"  {reason}"))
    if not read_model_folders(data_folder()):
        console.print("\nTo use the models of a ComfyUI or an A1111: velatura add FOLDER")


def show(
    name: Annotated[str, typer.Argument(help="A model's name, or a PNG that Velatura wrote.")],
) -> None:
    """Say all about one model, or what made a picture."""
    if name.lower().endswith(".png"):
        _show_picture(Path(name))
        return
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    seen = _look()
    try:
        for what, how in _facts(seen.entry(name)):
            console.print(printable(f"{what:<12}{how}"))
    except ModelError as error:
        fail(error.message + _hint(seen, name, error))


def _facts(entry: Entry) -> Iterator[tuple[str, str]]:
    info, weight = entry.info, entry.weight
    yield "Model", entry.name
    yield "Family", info.family
    yield "Kind", _UNETS[entry.extra]
    yield "Predicts", entry.prediction
    size = sum(path.stat().st_size for path in weight.files)
    yield "Size", f"{size / _GB:.2f} GB, {weight.numbers / 1e6:.0f} million weights"
    yield "Precision", weight.precision
    yield "Paints", f"{info.native} x {info.native} best, sides up to {info.largest}"
    yield "Defaults", f"{info.sampler}, {info.steps} steps, guidance {info.guidance:g}"
    yield "Actions", ", ".join(info.actions)
    yield "Guides", ", ".join(info.controls) or "none: it has no ControlNets"
    yield "Lies in", str(entry.path)
    if info.words:
        yield "Words", info.words
    # Last, as all of the file is read for it.
    yield "Hash", entry.digest()


def _hint(seen: Snapshot, name: str, error: ModelError) -> str:
    """What to type next, where the name is nearly one or another kind's."""
    from velatura.models.items import pick

    if error.code != "unknown_model":
        return ""
    for kind in _NAMES:
        item = pick(seen.of_kind(kind), name)
        if item is not None:
            return f" {item.name} is a{'n' if kind == EMBEDDING else ''} {kind}: {item.path}"
    near = pick(seen.of_kind(CHECKPOINT), name)
    return f" Did you mean: velatura show '{near.name}'" if near else ""


def _show_picture(path: Path) -> None:
    import json

    from velatura.protocol.png_text import read_text

    try:
        if path.stat().st_size > _LARGEST_PNG:
            fail(f"{path} is larger than {_LARGEST_PNG >> 20} MiB.")
        text = read_text(path.read_bytes())
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror}.")
    except LocalError as error:
        fail(f"{path}: {error.message}")
    if not text.parameters and text.recipe is None:
        fail(f"{path} does not say what made it.")
    if text.parameters:
        say(text.parameters)
    if text.recipe is not None:
        say("\n" + json.dumps(text.recipe, indent=1, ensure_ascii=False))


def convert(
    name: Annotated[str, typer.Argument(help="A .ckpt, .pt, .pth or .bin file, or a folder.")],
) -> None:
    """Turn pickled weights into safetensors beside them; the pickle stays."""
    from velatura.models.convert import convert as run
    from velatura.models.convert import targets
    from velatura.models.items import pick

    path = Path(name)
    if not path.exists():
        item = pick(_look().items, name)
        if item is None:
            fail(f"{name} is not there: give a path, or a name from velatura list.")
        path = item.path
    try:
        for source, target in targets(path):
            say(f"Converting {source.name} ...")
            run(source, target)
            say(f"{target} is ready.")
    except ModelError as error:
        fail(error.message)


def _look() -> Snapshot:
    from velatura.models.library import Library

    return Library(model_folders(data_folder())).snapshot()
