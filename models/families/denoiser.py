"""Define what sampling sees of a model: latents in, a prediction out, under a condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch
    from velatura.protocol.region import Rect, Size

# What a network's output is, of a noisy latent alpha * clean + sigma * noise:
#   epsilon       the noise (Ho et al. 2020)
#   v_prediction  alpha * noise - sigma * clean (Salimans & Ho 2022)
#   flow          noise - clean (Lipman et al. 2023, rectified flow), where alpha is 1 - sigma
Convention = Literal["epsilon", "v_prediction", "flow"]

# A family's own: what one run is conditioned on. Only the denoiser that made it reads it.
Condition = Any


@dataclass(frozen=True)
class LatentSpec:
    """The latents that a sampler sees: (1, ``channels``, height / ``factor``, width / ``factor``).

    factor  model pixels along each side of a cell
    """

    channels: int
    factor: int

    def shape(self, size: Size) -> tuple[int, int, int, int]:
        """The latents' shape for a picture of ``size`` (model pixels, whole cells)."""
        return (1, self.channels, size.height // self.factor, size.width // self.factor)

    def cells(self, rect: Rect) -> tuple[Any, ...]:
        """The index of ``rect`` (model pixels, whole cells) in latents."""
        f = self.factor
        rows, columns = slice(rect.y // f, rect.bottom // f), slice(rect.x // f, rect.right // f)
        return ..., rows, columns


@dataclass(frozen=True)
class Step:
    """One evaluation of the model in a run.

    index, of     which one, of how many; a solver of two halves evaluates twice a step
    timestep      () tensor as the scheduler gives it: what the network is told
    alpha, sigma  the noisy latents hold alpha * clean + sigma * noise
    is_half       it is the second half of a solver's step
    """

    index: int
    of: int
    timestep: torch.Tensor
    alpha: float
    sigma: float
    is_half: bool = False

    @property
    def done(self) -> float:
        """The part of the run that lies before this evaluation, 0..1."""
        return self.index / self.of


@dataclass(frozen=True)
class Prediction:
    """What a model says of noisy latents; both (1, channels, h, w).

    output    in the model's convention, guided: what a scheduler's step takes
    denoised  the finished latents that this implies, float32
    """

    output: torch.Tensor
    denoised: torch.Tensor


@dataclass(frozen=True)
class Text:
    """An encoded prompt.

    embeddings  (1, chunks x tokens, width) in the model's dtype
    note        a sentence for the painter, or none
    pooled      (1, width): the prompt as one vector, for models that are told one
    """

    embeddings: torch.Tensor
    note: str
    pooled: torch.Tensor | None = None


@dataclass(frozen=True)
class Chunk:
    """Tokens of a prompt that an encoder reads at once, without the start, end and padding around
    them, and the weight of each. A token below zero means a row of a textual inversion."""

    tokens: tuple[int, ...]
    weights: tuple[float, ...]


# (token below zero, number of the encoder) -> its row (width,) of token embeddings.
FindRow = Callable[[int, int], "torch.Tensor"]


class PromptEncoder(Protocol):
    """The text side of a model: its tokenizer and one or several text encoders.

    room        how many tokens a chunk may have
    comma       the token of a comma
    vocabulary  how many tokens there are
    widths      of the token embeddings of each encoder, which textual inversions must have
    most_skip   how many of the encoders' last layers can be left out
    """

    @property
    def room(self) -> int: ...

    @property
    def comma(self) -> int: ...

    @property
    def vocabulary(self) -> int: ...

    @property
    def widths(self) -> tuple[int, ...]: ...

    @property
    def most_skip(self) -> int: ...

    def tokenize(self, text: str) -> list[int]:
        """Cut a text into tokens, without start and end."""
        ...

    def read(self, tokens: Sequence[int]) -> str:
        """Put tokens together to a text again."""
        ...

    def encode(self, chunks: Sequence[Chunk], skip: int, find_row: FindRow) -> Text:
        """Encode the chunks of a prompt; ``skip`` of the encoders' last layers are left out."""
        ...

    def match(
        self, prompt: Text, negative: Text, empty: Text, is_silent: bool
    ) -> tuple[Text, Text]:
        """Make a prompt and a negative prompt that a model can be told side by side.

        ``empty`` is no words, encoded; ``is_silent``: the negative prompt says nothing.
        """
        ...


@dataclass(frozen=True)
class Words:
    """A prompt and what guides away from it.

    negative  as long as the prompt; None: no classifier-free guidance
    guidance  the guidance scale; 1 or less: none
    """

    prompt: Text
    negative: Text | None
    guidance: float


@dataclass(frozen=True)
class ControlInput:
    """One ControlNet's part in a run.

    map         (1, 3, h, w) in 0..1, of the model's picture; below 0 where an inpaint net is to paint
    kind        of the protocol's CONTROL_KINDS: a union net serves several
    weight      what its residuals are multiplied with
    start, end  parts of the run, 0..1, between which it acts
    """

    net: torch.nn.Module
    map: torch.Tensor
    kind: str
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True)
class Shown:
    """What a network with more input channels is shown beside the latents.

    picture  (1, 3, h, w) in -1..1 and ``hole`` (1, 1, h, w) of 0 and 1: to fill (inpaint models)
    depth    (2, 1, h / factor, w / factor) in -1..1, nearer is larger: beside the negative prompt
             and beside the prompt (depth models)
    """

    picture: torch.Tensor | None = None
    hole: torch.Tensor | None = None
    depth: torch.Tensor | None = None


NOTHING_SHOWN = Shown()


class Denoiser(Protocol):
    """A model as sampling sees it. Pictures are (h, w, 3) float32 in 0..1, of whole cells."""

    @property
    def latent(self) -> LatentSpec: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype:
        """What its latents are computed in."""
        ...

    @property
    def text(self) -> PromptEncoder: ...

    def encode(self, picture: np.ndarray) -> torch.Tensor:
        """Encode a picture as scaled latents: the mode, so that it is one value."""
        ...

    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """Decode latents to a picture, not clipped: NaN stays NaN."""
        ...

    def preview(self, latents: torch.Tensor) -> np.ndarray:
        """Decode latents roughly and fast: (h', w', 3) uint8, a thumbnail."""
        ...

    def condition(
        self,
        words: Words,
        controls: Sequence[ControlInput],
        size: Size,
        shown: Shown = NOTHING_SHOWN,
        generator: torch.Generator | None = None,
    ) -> Condition:
        """Make the condition of one run for a picture of ``size`` (model pixels).

        ``generator`` draws what a family samples while it makes it.
        """
        ...

    def hidden_value(self, net: torch.nn.Module) -> float:
        """Tell what a control map for inpainting holds where ``net`` is to paint."""
        ...

    def crop(self, condition: Condition, tile: Rect) -> Condition:
        """Cut a condition to ``tile`` (model pixels), as if that were the whole picture."""
        ...

    def predict(self, x: torch.Tensor, step: Step, condition: Condition) -> Prediction:
        """Run the network on latents ``x`` (1, channels, h, w), scaled as it was trained on them."""
        ...


def denoised_by(
    convention: Convention, x: torch.Tensor, output: torch.Tensor, step: Step
) -> torch.Tensor:
    """Read the finished latents off a network's ``output`` for noisy latents ``x``; float32."""
    x, output = x.float(), output.float()
    if convention == "v_prediction":
        return step.alpha * x - step.sigma * output
    if convention == "flow":
        return x - step.sigma * output
    return (x - step.sigma * output) / step.alpha
