"""Paint a first picture with a server of its own: an installation counts only when this works.

Prints one line of JSON: {"device": what it paints on, "seconds": for a small picture}.
"""

from __future__ import annotations

import json
import time
import uuid

from velatura.protocol import messages as m
from velatura.protocol.client import Client
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect, Size

from .local import local_server

# A cold disk and a virus scanner take their time with thousands of new files.
_WORKER_LIMIT = 300.0
_SIDE = 256


def main() -> None:
    """Raises SystemExit with one sentence when the server cannot paint."""
    with local_server("first-picture") as client:
        model, device = _ready(client)
        _paint(client, model, 2)  # loads the model
        start = time.perf_counter()
        _paint(client, model, model.steps)
        print(json.dumps({"device": device, "seconds": round(time.perf_counter() - start, 2)}))


def _ready(client: Client) -> tuple[m.ModelInfo, str]:
    """(the first model that paints, the device's name), once the worker has told both."""
    model, device = None, ""
    while model is None or not device:
        event = client.receive(_WORKER_LIMIT)
        if isinstance(event, m.Status):
            if event.worker == "failed":
                raise SystemExit(event.reason)
            device = event.device
        elif isinstance(event, m.Catalogue) and event.models:
            model = event.models[0]
    return model, device


def _paint(client: Client, model: m.ModelInfo, steps: int) -> None:
    job = str(uuid.uuid4())
    grey = Image(_SIDE, _SIDE, "rgba8", b"\x80\x80\x80\xff" * (_SIDE * _SIDE))
    client.send(
        m.Generate(
            job=job,
            action="generate",
            model=model.name,
            canvas=Size(_SIDE, _SIDE),
            region=Rect(0, 0, _SIDE, _SIDE),
            surroundings=grey,
            prompt="a landscape",
            steps=steps,
            guidance=model.guidance,
            sampler=model.sampler,
        )
    )
    answer = client.until_final(job)
    if isinstance(answer, m.Error):
        raise SystemExit(answer.message)
    client.send(m.Acknowledge(job=job))


if __name__ == "__main__":
    main()
