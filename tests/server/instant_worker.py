"""A worker process with an engine that paints one colour at once, and live canvases inverted ("same":
as they are, which costs nothing).

Words of the request's prompt switch it: "slow" (5 ms a step; "slow=50" sets the milliseconds),
"large" (256 x 256 previews), "deaf" (does not look at cancel), "crash" and "die" (before the first
and after the last step), "raise", "nan", "memory", "silent" (no final answer), "twice" (goes on
after it), "print".
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

from velatura.protocol import messages as m
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect
from velatura.server.worker.errors import Cancelled, JobError
from velatura.server.worker.host.process import Request, main
from velatura.server.worker.live.canvas import LiveCanvas

MODEL = m.ModelInfo(
    name="instant",
    family="sd15",
    native=64,
    multiple=8,
    largest=4096,
    actions=m.ACTIONS,
    controls=m.CONTROL_KINDS,
    samplers=("Euler a",),
    sampler="Euler a",
    steps=20,
    guidance=5.0,
)


def preview(request: m.Generate, step: int, side: int) -> Image:
    """One colour where the region is selected, with the selection's alpha: a layer's own shape."""
    selection = request.selection
    if selection is None:
        return Image(side, side, "rgba8", bytes((step, 0, 0, 255)) * side * side)
    width, height, alpha = selection.width, selection.height, bytes(selection.data)
    middles = [(2 * i + 1, 2 * side) for i in range(side)]
    shape = (
        alpha[y * height // of * width + x * width // of] for y, of in middles for x, _ in middles
    )
    return Image(side, side, "rgba8", b"".join(bytes((step, 0, 0, one)) for one in shape))


def colour(seed: int) -> bytes:
    return bytes((seed % 256, seed // 256 % 256, 77, 255))


class InstantEngine:
    def catalogue(self) -> m.Catalogue:
        return m.Catalogue(models=(MODEL,))

    def device(self) -> str:
        return f"instant, process {os.getpid()}"

    def loaded(self) -> tuple[str, ...]:
        return (MODEL.name,)

    def run(
        self,
        request: Request,
        emit: Callable[[m.Message], None],
        cancelled: Callable[[], bool],
    ) -> None:
        if isinstance(request, m.Annotate):
            picture = request.picture
            emit(m.ControlMap(job=request.job, kind=request.kind, picture=picture))
            return
        if request.model != MODEL.name:
            raise JobError("unknown_model", f"No model is named {request.model}.", "model")
        words = dict(word.partition("=")[::2] for word in request.prompt.split())
        if "print" in words:
            print("a library that prints")
            print("and one that warns", file=sys.stderr)
        if "crash" in words:
            os.kill(os.getpid(), signal.SIGKILL)
        if "raise" in words:
            raise ValueError("no such layer")
        if "nan" in words:
            raise JobError("bad_output", "The model returned numbers that are not finite.")
        if "memory" in words:
            raise JobError("out_of_memory", "The device is out of memory: try a smaller area.")
        for variant in range(request.variants):
            self._paint(request, variant, words, emit, cancelled)
        if "twice" in words:
            emit(m.Progress(job=request.job, stage="finishing"))
        if "die" in words:
            os.kill(os.getpid(), signal.SIGKILL)

    def paint_live(self, canvas: LiveCanvas, emit: Callable[[m.Message], None]) -> None:
        task = canvas.take()
        if task is None:
            return
        words = dict(word.partition("=")[::2] for word in task.settings.prompt.split())
        if "crash" in words:
            os.kill(os.getpid(), signal.SIGKILL)
        if "raise" in words:
            raise ValueError("no such layer")
        if "memory" in words:
            raise JobError("out_of_memory", "The device is out of memory: try a smaller area.")
        steps = task.settings.steps
        for step in range(steps):
            time.sleep(float(words["slow"] or 5) / 1000 if "slow" in words else 0.0)
            if canvas.overtaken(step + 1, steps):
                canvas.give_up(task)
                return
        area = task.settings.area
        rect = Rect(0, 0, area.width, area.height) if task.whole else task.rect or Rect(0, 0, 1, 1)
        pixels = canvas.read(rect)
        if "same" not in words:
            pixels[..., :3] = 255 - pixels[..., :3]
        canvas.finished()
        emit(
            m.LiveResult(
                job=canvas.job,
                revision=task.revision,
                x=rect.x,
                y=rect.y,
                picture=Image(rect.width, rect.height, "rgba8", memoryview(pixels).cast("B")),
            )
        )

    def close_live(self, job: str) -> None:
        pass

    def _paint(
        self,
        request: m.Generate,
        variant: int,
        words: dict[str, str],
        emit: Callable[[m.Message], None],
        cancelled: Callable[[], bool],
    ) -> None:
        slow = float(words["slow"] or 5) / 1000 if "slow" in words else 0.0
        side = 256 if "large" in words else 8
        for step in range(request.steps):
            if cancelled() and "deaf" not in words:
                raise Cancelled
            time.sleep(slow)
            done = (variant + (step + 1) / request.steps) / request.variants
            emit(
                m.Progress(
                    job=request.job,
                    stage="painting",
                    done=done,
                    variant=variant,
                    step=step + 1,
                    steps=request.steps,
                )
            )
            if request.previews:
                picture = preview(request, step, side)
                emit(
                    m.Preview(
                        job=request.job,
                        variant=variant,
                        step=step + 1,
                        area=request.region,
                        picture=picture,
                    )
                )
        if "silent" in words:
            return
        emit(
            m.Result(
                job=request.job,
                variant=variant,
                seed=request.seed + variant,
                x=request.region.x,
                y=request.region.y,
                picture=self.picture(request, variant),
                recipe={"model": request.model, "process": os.getpid()},
                last=variant == request.variants - 1,
            )
        )

    def picture(self, request: m.Generate, variant: int) -> Image:
        """What is painted over the region."""
        width, height = request.region.width, request.region.height
        return Image(width, height, "rgba8", colour(request.seed + variant) * (width * height))


if __name__ == "__main__":
    main(InstantEngine)
