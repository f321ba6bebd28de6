"""Start a real server, paint everything, write the pictures, say whether the results hold."""

from __future__ import annotations

import io
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from velatura.protocol import messages as m
from velatura.protocol.client import Client
from velatura.protocol.png_text import write_text

from ..local import local_server
from .checks import failures, line_agreement, over
from .paintings import Painting, Task, message_image, own_world, photograph, tasks
from .sheet import contact_sheet

_MODEL = "starter"
# Loading the models' libraries takes a while on a slow disk.
_WORKER_LIMIT = 180.0
_THIN = 60


def _model(client: Client) -> m.ModelInfo:
    """The starter, once the worker has told what it can paint."""
    while True:
        event = client.receive(_WORKER_LIMIT)
        if isinstance(event, m.Status) and event.worker == "failed":
            raise SystemExit(event.reason)
        if isinstance(event, m.Catalogue):
            for model in event.models:
                if model.name == _MODEL:
                    return model


def _paint(client: Client, task: Task, bar: Progress) -> tuple[m.Result, float]:
    row = bar.add_task(task.title, total=1.0)

    def watch(event: m.Message) -> None:
        if isinstance(event, m.Progress) and event.job == task.request.job:
            bar.update(row, completed=event.done)

    start = time.perf_counter()
    client.send(task.request)
    results = client.until_final(task.request.job, watch)
    took = time.perf_counter() - start
    bar.update(row, completed=1.0)
    client.send(m.Acknowledge(job=task.request.job))
    assert isinstance(results, list)
    return results[0], took


def _lines(client: Client, picture: np.ndarray, kind: str) -> np.ndarray:
    """(H, W) uint8: the control map that the server makes of (H, W, 4)."""
    job = str(uuid.uuid4())
    client.send(m.Annotate(job=job, kind=kind, picture=message_image(picture)))
    answer = client.until_final(job)
    assert isinstance(answer, m.ControlMap)
    pixels = np.frombuffer(answer.picture.data, np.uint8)
    pixels = pixels.reshape(answer.picture.height, answer.picture.width, -1)
    return pixels[..., :3].max(-1)


def _shrunk(pixels: np.ndarray, size: Mapping[str, int]) -> np.ndarray:
    """``pixels`` (H, W) or (H, W, 4) at the size that the model saw, from a recipe."""
    sides = (size["width"], size["height"])
    return np.asarray(Picture.fromarray(pixels).resize(sides, Picture.Resampling.BOX))


def _placed(result: m.Result, canvas: np.ndarray) -> np.ndarray:
    """The layer on an empty canvas of the same size."""
    picture = result.picture
    layer = np.frombuffer(picture.data, np.uint8).reshape(picture.height, picture.width, 4)
    return over(np.zeros_like(canvas), layer, result.x, result.y)


def _save(
    folder: Path, name: str, pixels: np.ndarray, recipe: Mapping[str, Any] | None = None
) -> None:
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "PNG")
    png = file.getvalue()
    (folder / f"{name}.png").write_bytes(png if recipe is None else write_text(png, recipe))


def _paint_all(
    client: Client, painting: Painting, model: m.ModelInfo, folder: Path, console: Console
) -> tuple[list[str], list[list[tuple[str, np.ndarray]]]]:
    """Problems found, and two rows for the contact sheet."""
    todo = {task.key: task for task in tasks(painting, model)}
    layers: dict[str, np.ndarray] = {}
    after: dict[str, np.ndarray] = {}
    columns = (TextColumn("{task.description:28}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        for key, task in todo.items():
            result, took = _paint(client, task, bar)
            layers[key] = _placed(result, task.canvas)
            if key == "controlled":
                size = result.recipe["size"]
            after[key] = over(task.canvas, layers[key], 0, 0)
            _save(folder, f"{key}-after", after[key], result.recipe)
            _save(folder, f"{key}-layer", layers[key], result.recipe)
            console.print(f"  {task.title}: {took:.1f} s", highlight=False)
    _save(folder, "before", painting.picture)
    _save(folder, "selection", painting.selection)
    source = todo["controlled"].canvas
    guide = painting.lines if painting.lines is not None else _lines(client, source, "line")
    _save(folder, "guide", guide)
    # Compared where the model painted: enlarged to the canvas its edges are soft slopes. A thin
    # line that was shrunk is grey.
    seen = np.where(_shrunk(guide, size) > _THIN, 255, 0)
    agreement = {
        key: line_agreement(seen, _lines(client, _shrunk(after[key], size), "canny"))
        for key in ("controlled", "uncontrolled")
    }
    console.print(
        f"  lines like the guide's: {agreement['controlled']:.2f} with it, "
        f"{agreement['uncontrolled']:.2f} without",
        highlight=False,
    )
    sheet = [
        [
            (f"Before ({painting.name})", painting.picture),
            ("Selection", painting.selection),
            ("Fill", after["fill"]),
            ("Guide", guide),
            ("Under the guide", after["controlled"]),
        ],
        [
            ("Generate", after["generate"]),
            ("Refine at 40 %", after["refine-40"]),
            ("Refine at 70 %", after["refine-70"]),
            ("Without the guide", after["uncontrolled"]),
            ("Expand", after["expand"]),
        ],
    ]
    return failures(painting, todo, layers, after, agreement), sheet


def main(folder: Path = Path("demo-out")) -> int:
    """Paint, write into ``folder``, print what to do next; 0 if all results hold, else 1."""
    console = Console()
    problems: list[str] = []
    rows: list[list[tuple[str, np.ndarray]]] = []
    console.print("Starting the server ...")
    start = time.perf_counter()
    with local_server("velatura demo") as client:
        greeted = time.perf_counter() - start
        model = _model(client)
        console.print(f"Connected after {greeted:.1f} s; painting with {model.name}.")
        for painting in (own_world(), photograph()):
            console.rule(painting.name)
            place = folder / painting.name.replace(" ", "-")
            place.mkdir(parents=True, exist_ok=True)
            found, lines = _paint_all(client, painting, model, place, console)
            problems += found
            rows += lines
    sheet = folder / "contact-sheet.png"
    contact_sheet(rows).save(sheet)
    console.rule()
    console.print(f"Pictures: [bold]{folder.resolve()}[/]\nAll of it on one page: [bold]{sheet}[/]")
    for problem in problems:
        console.print(f"[red]Does not hold:[/] {problem}")
    if not problems:
        console.print(
            "Everything holds. Next: [bold]velatura plugin install[/] puts the docker into Krita, "
            "[bold]velatura serve[/] starts the server."
        )
    return 1 if problems else 0
