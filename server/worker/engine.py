"""Which models are in memory; run one job. The only state of the worker that outlives a job."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from velatura.models.devices import choose_device, lacks_memory
from velatura.models.errors import ModelError
from velatura.models.families.base import Loaded
from velatura.models.families.denoiser import Words
from velatura.models.few_step import find_few_step
from velatura.models.library import Library
from velatura.models.lora_weights import lora_applied
from velatura.models.snapshot import Entry, Snapshot
from velatura.models.styles import SHIPPED, Styles
from velatura.protocol.messages import (
    Annotate,
    Catalogue,
    ControlMap,
    Generate,
    LiveOpen,
    LiveResult,
)
from velatura.protocol.sentences import Sentence
from velatura.server.worker.errors import Cancelled, JobError
from velatura.server.worker.job.denoise import check_sampler
from velatura.server.worker.job.depth import check_depth
from velatura.server.worker.job.paint import paint, result, unchanged_alpha
from velatura.server.worker.job.passes import Tools, Variant
from velatura.server.worker.job.plan import make_plan
from velatura.server.worker.job.recipe import make_recipe
from velatura.server.worker.job.scene import area_of, make_scene, selected_rect
from velatura.server.worker.live.canvas import LiveCanvas
from velatura.server.worker.live.model import LiveNetwork, make_live_network
from velatura.server.worker.live.painter import (
    GivenUp,
    LivePainter,
    check_live,
    make_live_painter,
)
from velatura.server.worker.live.plan import make_live_plan
from velatura.server.worker.pixels import to_array, to_image
from velatura.server.worker.prompt.encode import (
    Prompts,
    embed_both,
    read_prompt,
    read_prompts,
    whole,
)
from velatura.server.worker.report import Emit, Reporter
from velatura.server.worker.residency.addons import (
    AddOnsInMemory,
    Named,
    Ready,
    describe,
    find_named,
    loading,
    skipped,
)
from velatura.server.worker.residency.canvases import Canvases
from velatura.server.worker.residency.checkpoints import MODEL, CheckpointsInMemory
from velatura.server.worker.residency.controls import NET, ControlsInMemory
from velatura.server.worker.residency.loaded_model import LoadedModel
from velatura.server.worker.residency.shelf import Key, Room, Shelf, bytes_of
from velatura.server.worker.runtime.probes import make_accelerations
from velatura.server.worker.runtime.registry import AccelerationFailed, Accelerations
from velatura.server.worker.runtime.switches import Switches

# The kind of what stands on the shelf for live painting.
LIVE = "live"


def make_engine(
    find_folders: Callable[[], Sequence[Path]],
    memory: int | None,
    styles: Styles,
    switches: Switches,
) -> Engine:
    """An engine on the best device here, with the starter and what is in the folders found."""
    device, dtype, name = choose_device()
    place = torch.device(device)
    accelerations = make_accelerations(switches, place)
    return Engine(Library(find_folders), place, dtype, name, memory, styles, accelerations)


class Engine:
    """Paints jobs one at a time and keeps what the next one will need. Not thread-safe.

    memory: the most bytes that models may take; None for what the device has.
    """

    def __init__(
        self,
        library: Library,
        device: torch.device,
        dtype: torch.dtype,
        device_name: str,
        memory: int | None = None,
        styles: Styles | None = None,
        accelerations: Accelerations | None = None,
    ) -> None:
        self._accelerations = accelerations or Accelerations(device=device.type)
        self._library, self._device, self._device_name = library, device, device_name
        self._styles = styles or Styles([SHIPPED])
        self._room = Room(device, memory)
        self._shelf = Shelf(self._room, self._forget)
        self._checkpoints = CheckpointsInMemory(self._shelf, device, dtype, self._accelerations)
        self._controls = ControlsInMemory(self._shelf, device)
        self._addons = AddOnsInMemory(self._shelf)
        self._canvases = Canvases()

    def catalogue(self) -> Catalogue:
        """What can paint now."""
        seen = self._library.snapshot()
        models, styles = self._checkpoints.infos(seen), self._styles.styles()
        return Catalogue(models=models, addons=describe(seen.addons, models), styles=styles)

    def device(self) -> str:
        """The device's name, for a person."""
        return self._device_name

    def loaded(self) -> tuple[str, ...]:
        """Names of the models in memory."""
        return self._checkpoints.loaded()

    def wait_until_prepared(self) -> None:
        """Until every pass that is wanted so far is prepared, which painting never waits for."""
        for key in tuple(self._shelf):
            if key[0] in (MODEL, LIVE):
                self._shelf.peek(key).wait()

    def run(self, request: Generate | Annotate, emit: Emit, cancelled: Callable[[], bool]) -> None:
        """Run one job: emit its progress, previews and results.

        ``cancelled`` is asked between stages and after every step. Raises Cancelled, and JobError
        for everything that the painter can be told; whatever it raises, the next job finds the
        engine as it was.
        """
        with self._told():
            if isinstance(request, Annotate):
                self._annotate(request, emit, cancelled)
            else:
                self._paint(request, emit, cancelled)

    def paint_live(self, canvas: LiveCanvas, emit: Emit) -> None:
        """Emit one LiveResult for what waits of ``canvas``; nothing when something newer came.

        Raises JobError; then the canvas is to be closed.
        """
        task = canvas.take()
        if task is None:
            return

        def on_step(done: int, steps: int) -> None:
            if canvas.overtaken(done, steps):
                raise GivenUp

        try:
            with self._told():
                painter = self._live_painter(task.settings, emit)
                x, y, pixels = painter.paint(canvas, task, on_step)
                if warming := painter.warming():
                    Reporter(canvas.job, emit, lambda: False).stage("preparing", note=warming)
        except AccelerationFailed:
            # It is off now: the canvas is painted anew in its next turn, without it.
            self._forget_networks()
            canvas.give_up(task)
            return
        except GivenUp:
            canvas.give_up(task)
            return
        canvas.finished()
        emit(LiveResult(job=canvas.job, revision=task.revision, x=x, y=y, picture=to_image(pixels)))
        try:
            with self._told():
                painter.rehearse()
        except AccelerationFailed:
            self._forget_networks()

    def close_live(self, job: str) -> None:
        """Forget what is kept for this live canvas, if anything."""
        self._canvases.close(job)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what a painter can be told into JobError; after a lack of memory nothing is kept."""
        self._shelf.begin()
        try:
            yield
        except JobError as error:
            if error.code == "out_of_memory":
                self._free(error)
            raise
        except ModelError as error:
            raise JobError(error.code, error.message, error.field) from error
        except (RuntimeError, MemoryError) as error:
            if not lacks_memory(error):
                raise
            self._free(error)
            raise JobError(
                "out_of_memory",
                Sentence(
                    "{device} ran out of memory; it has been freed. Try a smaller selection or "
                    "context, or fewer controls.",
                    device=self._device_name,
                ),
            ) from None

    def _paint(self, request: Generate, emit: Emit, cancelled: Callable[[], bool]) -> None:
        prompts = read_prompts(request)
        seen, named = self._look(request.model, prompts)
        info, entry = self._checkpoints.info_for(seen, request), seen.entry(request.model)
        depth = entry.extra == "depth"
        if depth:
            check_depth(request)
        report = Reporter(request.job, emit, cancelled, previews=request.previews)
        area = area_of(request)
        plan = make_plan(request, info, selected_rect(area))
        check_sampler(request.sampler, plan)
        scene = make_scene(request, plan, area)
        if plan.run == 0:
            rgb, alpha = scene.source[..., :3], unchanged_alpha(request, scene)
            for variant in range(request.variants):
                emit(result(request, variant, rgb, alpha, make_recipe(request, plan, None)))
            return
        model = self._checkpoints.load(entry, report)
        loaded = model.loaded
        skip = skipped(request.clip_skip, loaded)
        ready = [self._addons.get(one, loaded, loading(report)) for one in named]
        tools = Tools(
            loaded=loaded,
            variant=lambda variant: self._variant(model, ready[variant], skip),
            named=lambda variant: {"addons": list(ready[variant].recipe)},
            control_map=partial(self._controls.map, seen.annotators),
            control_nets=[
                self._controls.net(entry, c.kind, loaded.dtype, report)
                for c in request.controls
                if not depth
            ],
        )
        paint(request, plan, scene, prompts, tools, report, emit)

    def _annotate(self, request: Annotate, emit: Emit, cancelled: Callable[[], bool]) -> None:
        def check() -> None:
            if cancelled():
                raise Cancelled

        there = self._library.latest().annotators
        drawn = self._controls.map(there, request.kind, to_array(request.picture), True, check)
        check()
        grey = (drawn == drawn[..., :1]).all()
        picture = drawn[..., 0] if grey else np.dstack([drawn, np.full_like(drawn[..., 0], 255)])
        emit(ControlMap(job=request.job, kind=request.kind, picture=to_image(picture)))

    def _live_painter(self, settings: LiveOpen, emit: Emit) -> LivePainter:
        """The one at work, or a new one after new settings; what it is made of is cached."""
        painter, held = self._canvases.find(settings)
        if painter is not None:
            self._shelf.touch(held)
            return painter
        # It may hold the last use of a model that is not wanted any more.
        self._canvases.close(settings.job)
        prompts = read_prompt(*whole(settings), settings.seed)
        seen, (named,) = self._look(settings.model, [prompts])
        info, entry = self._checkpoints.info(seen, settings.model), seen.entry(settings.model)
        check_live(settings, entry.extra)
        report = Reporter(settings.job, emit, lambda: False)
        model = self._checkpoints.load(entry, report)
        loaded = model.loaded
        ready = self._addons.get(named, loaded, loading(report))
        report.stage("preparing")
        network = self._live_network(model, entry, named, ready)
        plan = make_live_plan(settings.area, info, network.multiple)
        nets = [self._controls.net(entry, c.kind, loaded.dtype, report) for c in settings.controls]
        skip = skipped(settings.clip_skip, loaded)
        with self._variant(model, ready, skip) as variant:
            guided = settings.guidance > 1
            words = Words(
                *embed_both(prompts, guided, loaded.denoiser.text, variant.encode),
                settings.guidance,
            )
        control_map = partial(self._controls.map, seen.annotators)
        painter = make_live_painter(settings, plan, network, words, nets, control_map)
        self._canvases.keep(painter, self._shelf.in_use)
        return painter

    def _live_network(
        self, model: LoadedModel, entry: Entry, named: Named, ready: Ready
    ) -> LiveNetwork:
        """Make the model with what it has for few steps, and the LoRAs, in its weights."""
        loaded = model.loaded
        few_step = find_few_step(entry.path)
        is_copy = few_step is not None or bool(ready.loras)
        wanted = (LIVE, loaded.name, named.loras)

        def make() -> Loaded:
            return loaded.live_copy(few_step, ready.loras) if is_copy else loaded

        for key in tuple(self._shelf):
            if key[:2] == wanted[:2] and key != wanted:
                network: LiveNetwork = self._shelf.peek(key)
                if is_copy and network.loaded is not loaded and network.take_weights(make()):
                    # What was prepared for it stays: only its weights change.
                    self._shelf.rename(key, wanted)
                    self._canvases.forget_model(loaded.name)
                else:
                    self._shelf.drop(key)
        made: LiveNetwork = self._shelf.get(
            wanted,
            lambda: bytes_of(loaded.network) if is_copy else 0,
            f"Live painting with {loaded.name}",
            lambda: make_live_network(make(), self._accelerations),
        )
        return made

    def _look(self, model: str, prompts: Sequence[Prompts]) -> tuple[Snapshot, list[Named]]:
        """What is on disk, once a job, and what of it each of the prompts names.

        Raises JobError for a model or an add-on that there is not.
        """

        def find(seen: Snapshot) -> list[Named]:
            self._checkpoints.info(seen, model)
            width = seen.entry(model).text_width
            return [find_named(model, one, seen.addons, width) for one in prompts]

        seen = self._library.latest()
        named = find(seen)
        addons = (addon for one in named for addon in one.named)
        if seen.entry(model).changed or any(addon.changed for addon in addons):
            # Written over in its place: only a look at every file shows that.
            seen = self._library.snapshot()
            named = find(seen)
        return seen, named

    @contextmanager
    def _variant(self, model: LoadedModel, ready: Ready, skip: int) -> Iterator[Variant]:
        """The model with what the prompts name, while the context lasts."""
        with lora_applied(model.loaded, ready.loras):
            yield Variant(
                # A recording would keep or not see the hooks of LoRAs.
                model.loaded.denoiser if ready.loras else model.denoiser(),
                lambda parsed: model.encode(parsed, skip, ready),
                ready.note,
            )

    def _forget_networks(self) -> None:
        """Drop all that live painting runs: it is made anew with the accelerations that are left."""
        for key in tuple(self._shelf):
            if key[0] == LIVE:
                self._shelf.drop(key)

    def _forget(self, key: Key) -> None:
        """Drop what holds what leaves: a live canvas begins anew."""
        kind, name, *_ = key
        for other in tuple(self._shelf):
            # What was prepared or recorded with a net holds it.
            if (kind == MODEL and other[1] == name) or (kind == NET and other[0] == LIVE):
                self._shelf.drop(other)
        self._canvases.forget(key)

    def _free(self, error: BaseException) -> None:
        """Forget everything that holds memory on the device; live canvases begin anew."""
        # The frames of the traceback hold tensors: they must go before memory can.
        traceback.clear_frames(error.__traceback__)
        for kept in (self._canvases, self._shelf, self._addons):
            kept.clear()
        self._room.release()
