"""The UNet's forward pass as a function of tensors, and a recording of it.

A small model on a CPU spends almost as long in Python as in arithmetic, above all where live painting
makes a few passes over few cells, so its pass is recorded once and replayed without Python.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from velatura.server.worker.packed import lay_out
from velatura.server.worker.tidy import tidy

# A height and width in cells that halve to odd numbers: for these diffusers keeps the sizes of the
# way down for the way up, which is right for all others too.
_ODD = (6, 7)

# What diffusers' UNet may be told beside latents, time step and prompt.
_LABELS, GUIDANCE = "added_cond_kwargs", "timestep_cond"
_DOWN, _MIDDLE = "down_block_additional_residuals", "mid_block_additional_residual"
_KNOWN = {_LABELS, _DOWN, _MIDDLE}


@dataclass(frozen=True)
class Guide:
    """A ControlNet at work in a pass.

    net     a module that is called as diffusers' are; an Incremental one where something is kept
    map     (n, 3, 8h, 8w) in 0..1, its control map there
    weight  () float32
    """

    net: torch.nn.Module
    map: torch.Tensor
    weight: torch.Tensor


@dataclass(frozen=True)
class Given:
    """What a pass is told. All tensors are on the model's device and, but for ``step``, in its dtype.

    inputs     (n, 4, h, w) noisy latents
    step       () int64, the time step
    prompt     (n, tokens, width) embeddings
    labels     of a family whose UNet is told more than a text (SDXL), or of one that is told the
               guidance scale (LCM's own), by diffusers' names
    residuals  what ControlNets add to the skips, and last to the middle; empty without any
    guides     ControlNets that the pass runs itself, in place of ``residuals``
    kept       what the layers of the guides and then of the UNet keep of the whole picture
               (kept.py); empty: nothing is kept
    is_part    ``inputs`` are but a part of that picture
    places     where that lies, by number; None: ``kept`` are views of it
    """

    inputs: torch.Tensor
    step: torch.Tensor
    prompt: torch.Tensor
    labels: Mapping[str, torch.Tensor] = field(default_factory=dict)
    residuals: Sequence[torch.Tensor] = ()
    guides: Sequence[Guide] = ()
    kept: Sequence[torch.Tensor] = ()
    is_part: bool = False
    places: Sequence[torch.Tensor] | None = None


# Given -> (n, 4, h, w), what the model predicts, in its dtype.
Pass = Callable[[Given], torch.Tensor]


def plain(unet: Callable[..., Any]) -> Pass:
    """diffusers' own call."""

    def run(given: Given) -> torch.Tensor:
        around: dict[str, Any] = {}
        if given.kept:
            # One net goes on where the one before it ends.
            places = None if given.places is None else iter(given.places)
            around = {"kept": iter(given.kept), "places": places, "is_part": given.is_part}
        labels = dict(given.labels)
        guidance = labels.pop(GUIDANCE, None)
        told = {"encoder_hidden_states": given.prompt, "return_dict": False, **around}
        if given.labels:
            told[_LABELS] = labels
        residuals = list(given.residuals)
        for guide in given.guides:
            down, middle = guide.net(
                given.inputs,
                given.step,
                controlnet_cond=guide.map,
                conditioning_scale=guide.weight,
                **told,
            )
            new = [*down, middle]
            residuals = [a + b for a, b in zip(residuals, new, strict=True)] if residuals else new
        if guidance is not None:
            told[GUIDANCE] = guidance
        if residuals:
            *down, middle = residuals
            told[_DOWN], told[_MIDDLE] = tuple(down), middle
        return unet(given.inputs, given.step, **told)[0]

    return run


def tensors_of(given: Given) -> tuple[torch.Tensor, ...]:
    """All that a pass is told, in one order."""
    told = (given.inputs, given.step, given.prompt, *given.labels.values(), *given.residuals)
    guides = (tensor for guide in given.guides for tensor in (guide.map, guide.weight))
    return (*told, *guides, *given.kept, *(given.places or ()))


def with_tensors(given: Given, tensors: Iterable[torch.Tensor]) -> Given:
    """The same with other ``tensors``, in the order of ``tensors_of``."""
    rest = iter(tensors)

    def as_many_as(those: Iterable[Any]) -> list[torch.Tensor]:
        return [next(rest) for _ in those]

    return replace(
        given,
        inputs=next(rest),
        step=next(rest),
        prompt=next(rest),
        labels={name: next(rest) for name in given.labels},
        residuals=as_many_as(given.residuals),
        guides=[replace(guide, map=next(rest), weight=next(rest)) for guide in given.guides],
        kept=as_many_as(given.kept),
        places=None if given.places is None else as_many_as(given.places),
    )


class Recorded:
    """A pass that is recorded (torch.jit.trace) the first time it is run with the same kinds of tensors.

    Sizes are recorded as what they are computed from, so that one recording serves them all.
    """

    def __init__(self, unet: torch.nn.Module) -> None:
        self._unet = unet
        self._recordings: dict[tuple[Any, ...], Any] = {}

    def __call__(self, given: Given) -> torch.Tensor:
        kind = self._kind(given)
        if kind not in self._recordings:
            self._recordings[kind] = self._record(given)
        with torch.jit.optimized_execution(False):
            return self._recordings[kind](*tensors_of(given))

    def knows(self, given: Given) -> bool:
        """Whether a pass of this kind is recorded."""
        return self._kind(given) in self._recordings

    def _kind(self, given: Given) -> tuple[Any, ...]:
        counts = (len(given.residuals), len(given.kept), given.is_part)
        nets = (guide.net for guide in given.guides)
        return (len(given.inputs), given.step.dtype, *given.labels, *counts, *nets)

    def _record(self, given: Given) -> Any:
        run = plain(self._unet)
        # What layers keep has sizes of its own, and then they keep those of the way down.
        tensors = tensors_of(given if given.kept else _resized(given, _ODD))
        nets = torch.nn.ModuleList([self._unet, *(guide.net for guide in given.guides)])
        return _recording(nets, lambda *now: run(with_tensors(given, now)), tensors)


class RecordedParts:
    """An end of an autoencoder, of which passes over parts of a picture are recorded.

    It is called as its ``net`` is, an Incremental one; without what layers keep ``net`` runs itself.
    """

    def __init__(self, net: torch.nn.Module) -> None:
        self._net = net
        self._recordings: dict[torch.dtype, Any] = {}

    def __call__(
        self, x: torch.Tensor, kept: Sequence[torch.Tensor] = (), is_part: bool = False
    ) -> torch.Tensor:
        if not is_part:
            whole: torch.Tensor = self._net(x, kept=kept)
            return whole
        if x.dtype not in self._recordings:

            def run(x: torch.Tensor, *kept: torch.Tensor) -> Any:
                return self._net(x, kept=kept, is_part=True)

            self._recordings[x.dtype] = _recording(self._net, run, (x, *kept))
        with torch.jit.optimized_execution(False):
            part: torch.Tensor = self._recordings[x.dtype](x, *kept)
            return part


def _recording(
    net: torch.nn.Module, run: Callable[..., torch.Tensor], tensors: tuple[torch.Tensor, ...]
) -> Any:
    """``run``, a function of ``tensors`` that runs ``net``, without Python."""

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            return run(*tensors)

    with warnings.catch_warnings(), torch.no_grad():
        # It tells of what depends on sizes, and that torch.export and torch.compile are preferred.
        # An exported graph is walked by Python: the starter's pass over a part of a picture took
        # 10.2 ms so, 7.0 replayed and 12.8 as it is. A compiler is what people who paint on a CPU
        # rarely have, and takes minutes.
        warnings.simplefilter("ignore")
        made = torch.jit.freeze(torch.jit.trace(Flat().eval(), tensors, check_trace=False))
    lay_out(made.graph)
    tidy(made.graph)
    return made


@contextmanager
def instead(module: torch.nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """While inside, ``module`` is run by ``forward``."""
    before = vars(module).get("forward")
    module.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        if before is None:
            # The class's own is seen again.
            del module.forward
        else:
            module.forward = before  # type: ignore[method-assign]


def through(unet: torch.nn.Module, run: Pass) -> AbstractContextManager[None]:
    """While inside, what diffusers' pipelines ask of ``unet`` goes through ``run``, where it can."""
    own = unet.forward

    def forward(
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        return_dict: bool = True,
        **more: Any,
    ) -> Any:
        asked = {name: value for name, value in more.items() if value is not None}
        if return_dict or not asked.keys() <= _KNOWN:
            return own(sample, timestep, encoder_hidden_states, return_dict=return_dict, **more)
        residuals = [*asked[_DOWN], asked[_MIDDLE]] if _DOWN in asked else []
        given = Given(sample, timestep, encoder_hidden_states, asked.get(_LABELS, {}), residuals)
        # ``run`` may itself run the UNet, to record it: as it is, whatever stands around this.
        with instead(unet, own):
            return (run(given),)

    return instead(unet, forward)


def _resized(given: Given, size: tuple[int, int]) -> Given:
    """Zeros in place of the latents and residuals, as they would be for latents of ``size``."""

    def halves(height: int, width: int) -> Iterator[tuple[int, int]]:
        while True:
            yield height, width
            height, width = -(-height // 2), -(-width // 2)

    def zeros(tensor: torch.Tensor) -> torch.Tensor:
        height, width = tensor.shape[-2:]
        levels = zip(halves(*given.inputs.shape[-2:]), halves(*size), strict=False)
        new = next(to for level, to in levels if level == (height, width))
        empty = tensor.new_zeros(*tensor.shape[:2], *new)
        return empty.contiguous(memory_format=torch.channels_last)

    height, width = size
    return replace(
        given,
        inputs=zeros(given.inputs),
        residuals=[zeros(one) for one in given.residuals],
        guides=[
            replace(one, map=one.map.new_zeros(*one.map.shape[:2], 8 * height, 8 * width))
            for one in given.guides
        ],
    )
