"""A model family as another package would bring one: nothing of it is known to the house.

It is trained by flow matching, has latents of 16 channels and factor 16, which its network sees packed
as tokens, one text encoder, and a condition of two tensors. Its weights are random.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from velatura.models.errors import ModelError
from velatura.models.families.base import Family, Found, Loaded
from velatura.models.families.denoiser import (
    NOTHING_SHOWN,
    Chunk,
    ControlInput,
    FindRow,
    LatentSpec,
    Prediction,
    Shown,
    Step,
    Text,
    Words,
    denoised_by,
)
from velatura.protocol.messages import ACTIONS
from velatura.protocol.region import Rect, Size

CHANNELS, FACTOR, WIDTH, TOKENS = 16, 16, 24, 77
CLASS = "ToyFlowPipeline"


class Network(torch.nn.Module):
    """Two layers over tokens, told the noise level, the words and the prompt as one vector."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = torch.nn.Linear(CHANNELS + 1, WIDTH)
        self.words = torch.nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.pooled = torch.nn.Linear(WIDTH, WIDTH)
        self.outside = torch.nn.Linear(WIDTH, CHANNELS)

    def forward(
        self, packed: torch.Tensor, time: torch.Tensor, words: torch.Tensor, pooled: torch.Tensor
    ) -> torch.Tensor:
        """(n, cells, channels) -> the velocity there; ``time``: the noise level times 1000."""
        level = (time.float() / 1000).reshape(1, 1, 1).expand(*packed.shape[:2], 1)
        x = torch.tanh(self.inside(torch.cat([packed, level], dim=-1)))
        x = x + self.words(x, words, words, need_weights=False)[0]
        return self.outside(torch.tanh(x + self.pooled(pooled)[:, None]))


class Encoder(torch.nn.Module):
    """Words by their letters."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(256, WIDTH)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(1, tokens) -> (1, tokens, width)."""
        return self.table(tokens)


class Autoencoder(torch.nn.Module):
    """A linear map from patches of pixels to channels and back."""

    def __init__(self) -> None:
        super().__init__()
        self.down = torch.nn.Conv2d(3, CHANNELS, FACTOR, FACTOR)
        self.up = torch.nn.ConvTranspose2d(CHANNELS, 3, FACTOR, FACTOR)


PARTS: Mapping[str, type[torch.nn.Module]] = {
    "transformer": Network,
    "letters": Encoder,
    "autoencoder": Autoencoder,
}


def make_toy(folder: Path) -> Path:
    """Write a model of this family with random weights."""
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": CLASS}))
    (folder / "scheduler").mkdir()
    schedule = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(schedule))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, cls in PARTS.items():
            (folder / name).mkdir()
            (folder / name / "config.json").write_text("{}")
            save_file(cls().state_dict(), folder / name / "diffusion_pytorch_model.safetensors")
    return folder


@dataclass(kw_only=True)
class ToyLoaded(Loaded):
    """The parts in memory."""

    transformer: Network
    letters: Encoder
    autoencoder: Autoencoder


@dataclass(frozen=True)
class Condition:
    """Words (n, tokens, width) and pooled (n, width), the negative ones first; the guidance scale."""

    words: torch.Tensor
    pooled: torch.Tensor
    guidance: float


class ToyText:
    """Letters as tokens."""

    room, comma, vocabulary, widths, most_skip = TOKENS, ord(","), 4000, (WIDTH,), 1

    def __init__(self, letters: Encoder) -> None:
        self._letters = letters

    def tokenize(self, text: str) -> list[int]:
        """Cut a text into bytes."""
        return list(text.encode())

    def read(self, tokens: Sequence[int]) -> str:
        """Put bytes together."""
        return bytes(tokens).decode(errors="replace")

    def encode(self, chunks: Sequence[Chunk], skip: int, find_row: FindRow) -> Text:
        """Encode all chunks as one, padded; heavy words are longer."""
        parts = []
        for chunk in chunks:
            tokens = [*chunk.tokens, *[0] * (TOKENS - len(chunk.tokens))]
            weights = [*chunk.weights, *[1.0] * (TOKENS - len(chunk.weights))]
            parts.append(
                self._letters(torch.tensor([tokens])) * torch.tensor(weights)[None, :, None]
            )
        words = torch.cat(parts, dim=1)
        return Text(words, "", words.mean(1))

    def match(
        self, prompt: Text, negative: Text, empty: Text, is_silent: bool
    ) -> tuple[Text, Text]:
        """Fill the shorter one up."""
        longest = max(prompt.embeddings.shape[1], negative.embeddings.shape[1])

        def filled(text: Text) -> Text:
            times = -(-longest // text.embeddings.shape[1])
            return Text(text.embeddings.repeat(1, times, 1)[:, :longest], text.note, text.pooled)

        return filled(prompt), filled(negative)


class ToyDenoiser:
    """The family's denoiser."""

    latent = LatentSpec(CHANNELS, FACTOR)

    def __init__(self, loaded: ToyLoaded) -> None:
        self._loaded = loaded
        self.device, self.dtype = loaded.device, loaded.dtype
        self.text = ToyText(loaded.letters)

    @torch.no_grad()
    def encode(self, picture: np.ndarray) -> torch.Tensor:
        """Encode a picture."""
        pixels = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
        return self._loaded.autoencoder.down(2 * pixels.float() - 1)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """Decode latents."""
        sample = self._loaded.autoencoder.up(latents.float())
        return (sample[0].permute(1, 2, 0).numpy() + 1) / 2

    def preview(self, latents: torch.Tensor) -> np.ndarray:
        """Decode latents to a thumbnail."""
        small = self.decode(latents)[:: FACTOR // 2, :: FACTOR // 2]
        return np.rint(small.clip(0, 1) * 255).astype(np.uint8)

    def condition(
        self,
        words: Words,
        controls: Sequence[ControlInput],
        size: Size,
        shown: Shown = NOTHING_SHOWN,
        generator: torch.Generator | None = None,
    ) -> Condition:
        """Make the condition of one run."""
        texts = [text for text in (words.negative, words.prompt) if text is not None]
        pooled = torch.cat([text.pooled for text in texts if text.pooled is not None])
        return Condition(torch.cat([text.embeddings for text in texts]), pooled, words.guidance)

    def hidden_value(self, net: torch.nn.Module) -> float:
        """There are no ControlNets."""
        return 0.0

    def crop(self, condition: Condition, tile: Rect) -> Condition:
        """Nothing of the condition depends on the place."""
        return condition

    def predict(self, x: torch.Tensor, step: Step, condition: Condition) -> Prediction:
        """Pack, run, guide, unpack."""
        packed = x.flatten(2).mT.expand(len(condition.words), -1, -1)
        made = self._loaded.transformer(packed, step.timestep, condition.words, condition.pooled)
        if len(made) > 1:
            without, with_prompt = made.chunk(2)
            made = without + condition.guidance * (with_prompt - without)
        output = made.mT.reshape(x.shape)
        return Prediction(output, denoised_by("flow", x, output, step))


def detect(folder: Path, part: str) -> Found | None:
    """Recognise a folder of this family."""
    named = json.loads((folder / "model_index.json").read_text()).get("_class_name")
    return (
        Found(native=64, parts=tuple(PARTS), extra="", shape=(WIDTH,)) if named == CLASS else None
    )


def load(
    name: str, path: Path, found: Found, device: torch.device, dtype: torch.dtype, progress: Any
) -> ToyLoaded:
    """Load the parts."""
    if not path.is_dir():
        raise ModelError("unsupported", "it is no folder.")
    parts: dict[str, Any] = {}
    for part, cls in PARTS.items():
        parts[part] = cls().eval().requires_grad_(False)
        weights = load_file(path / part / "diffusion_pytorch_model.safetensors")
        parts[part].load_state_dict(weights)
    schedule = json.loads((path / "scheduler" / "scheduler_config.json").read_text())
    return ToyLoaded(
        name=name,
        family=TOY,
        find_digest=str,
        native=found.native,
        scheduler_config=schedule,
        device=device,
        dtype=torch.float32,
        **parts,
    )


TOY = Family(
    name="toy",
    multiple=FACTOR,
    largest=256,
    actions=ACTIONS,
    steps=4,
    guidance=3.0,
    sampler="Euler",
    pads=(),
    clip_layer=1,
    detect=detect,
    detect_file=lambda header: None,
    load=load,
    make_denoiser=lambda loaded, run: ToyDenoiser(loaded),
)
