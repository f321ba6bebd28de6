"""The denoising objective that the UNet, the controls and the adapters share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPTextModel, CLIPTokenizer
from velatura.models.starter.recipe.autoencoder import SCALING_FACTOR
from velatura.models.starter.recipe.config import Config
from velatura.models.starter.recipe.data import Pictures
from velatura.models.starter.recipe.networks import NOISE_SCHEDULE
from velatura.models.starter.recipe.prompts import full_prompt
from velatura.models.starter.recipe.world import PALETTE

BLIND = 8
BLIND_WEIGHT = 0.1
# What a caption names and what has a colour of its own is small: a house covers a few latent pixels of
# 256, and sky and ground would have nearly all of the loss.
THINGS = ("person", "house", "boat", "flower", "bridge", "tower", "food", "plate")
THING_WEIGHT = 4.0


def alphas_cumprod() -> torch.Tensor:
    """The share of signal (variance) at each of the 1000 timesteps; Stable Diffusion's schedule."""
    first, last = NOISE_SCHEDULE["beta_start"], NOISE_SCHEDULE["beta_end"]
    steps = NOISE_SCHEDULE["num_train_timesteps"]
    betas = torch.linspace(first**0.5, last**0.5, steps) ** 2
    return (1 - betas).cumprod(0)


@dataclass(frozen=True)
class Noised:
    """Latents at random timesteps: x = alpha * x0 + sigma * noise. Alphas and sigmas (B, 1, 1, 1).

    The last `blind` rows are plain noise at the last timestep, as sampling starts: see `noised`.
    """

    x0: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    alpha: torch.Tensor
    sigma: torch.Tensor
    blind: int

    @property
    def x(self) -> torch.Tensor:
        return self.alpha * self.x0 + self.sigma * self.noise

    def loss(
        self, predicted: torch.Tensor, gamma: float, where: torch.Tensor | float = 1.0
    ) -> torch.Tensor:
        """Error of the predicted noise with min-SNR weights (Hang et al. 2023).

        `where` (B, 1, h, w) says how much each place counts; its mean is 1.
        """
        snr = (self.alpha / self.sigma).square().flatten()
        error = ((predicted.float() - self.noise).square() * where).mean((1, 2, 3))
        weight = snr.clamp(max=gamma) / snr
        # Next to no signal is left there: what counts is the clean picture's error, not the noise's.
        weight[-self.blind :] = BLIND_WEIGHT / snr[-self.blind :]
        return (error * weight).mean()


def noised(x0: torch.Tensor, timesteps: torch.Tensor | None = None) -> Noised:
    """Add noise to clean latents, at random timesteps unless some are given; one row in BLIND blind.

    Stable Diffusion's schedule ends with 0.5 % of signal. In latents this small that betrays the mean
    colour, so a model learns to read the time of day out of x and, when sampling starts from plain
    noise, out of nothing (Lin et al. 2023). A blind row is plain noise at the last timestep; its
    `noise` is what that must be mistaken for if x0 is to come out of it, so that only the text can
    tell.
    """
    if timesteps is None:
        # One timestep from each of B equal parts: less variance than independent draws.
        offsets = torch.rand(len(x0)) + torch.arange(len(x0))
        timesteps = (offsets / len(x0) * 1000).long().clamp(max=999).to(x0.device)
    blind = -(-len(x0) // BLIND)
    t = timesteps.clone()
    t[-blind:] = 999
    share = alphas_cumprod().to(x0.device)[t][:, None, None, None]
    alpha, sigma = share.sqrt(), (1 - share).sqrt()
    noise = torch.randn_like(x0)
    noise[-blind:] = ((noise - alpha * x0) / sigma)[-blind:]
    return Noised(x0, noise, t, alpha, sigma, blind)


class LatentPictures:
    """The encoded training pictures with their captions as tokens, in memory.

    Each has its written captions and one that names everything (complete captions bind words to
    things better: Betker et al. 2023). Scenes with named colours are drawn more often.
    """

    def __init__(self, config: Config, tokenizer: CLIPTokenizer, pictures: Pictures) -> None:
        self.config, self.pictures = config, pictures
        self.latents = np.load(config.work / "latents.npy", mmap_mode="r")
        count = len(self.latents)
        both = zip(pictures.captions[:count], pictures.labels[:count], strict=True)
        captions = [text for texts, label in both for text in (*texts, full_prompt(label))]
        ids = tokenize(tokenizer, captions).short()
        self.ids = ids.view(len(self.latents), -1, config.tokens)
        named = [sum(c is not None for c in x["objects"].values()) for x in pictures.labels[:count]]
        self._share = np.cumsum(1.0 + np.array(named))
        self.empty = tokenize(tokenizer, [""])[0].short()

    def indices(self, step: int, batch: int, seed: int = 0) -> np.ndarray:
        """Which pictures step `step` sees."""
        places = np.random.default_rng((self.config.seed + seed, step)).random(batch)
        return np.searchsorted(self._share / self._share[-1], places, side="right")

    def x0(self, indices: np.ndarray) -> torch.Tensor:
        """Latents drawn from the posterior, as the UNet sees them: (B, 4, h, w), unit variance."""
        moments = torch.from_numpy(self.latents[np.sort(indices)][np.argsort(np.argsort(indices))])
        mean, std = moments.to(self.config.device).float().chunk(2, 1)
        x0 = SCALING_FACTOR * (mean + std * torch.randn_like(mean))
        return x0.contiguous(memory_format=torch.channels_last)

    def things(self, indices: np.ndarray) -> torch.Tensor:
        """How much each place of these pictures counts: (B, 1, h, w), mean 1."""
        maps = torch.from_numpy(self.pictures.read("segmentation", indices)[:, ::2, ::2])
        share = F.avg_pool2d(thing_mask(maps)[:, None], maps.shape[1] // self.config.latent)
        weights = 1 + THING_WEIGHT * share.to(self.config.device)
        return weights / weights.mean()

    def tokens(self, indices: np.ndarray, dropout: float) -> torch.Tensor:
        """One caption of each picture, left empty with probability `dropout`: (B, tokens)."""
        wording = torch.randint(0, self.ids.shape[1], (len(indices),))
        ids = self.ids[torch.from_numpy(indices), wording]
        ids[torch.rand(len(indices)) < dropout] = self.empty
        return ids.long().to(self.config.device)


def thing_mask(segmentation: torch.Tensor) -> torch.Tensor:
    """(B, S, S, 3) uint8 in the palette's colours to (B, S, S): 1 where one of THINGS is."""
    weights = torch.tensor([1, 256, 65536])
    codes = (segmentation.int() * weights.int()).sum(-1)
    return torch.isin(codes, (torch.tensor([PALETTE[k] for k in THINGS]) * weights).sum(-1)).float()


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """(N, tokens) ids, padded and cut to the model's length."""
    return tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids


def encode(text_encoder: CLIPTextModel, ids: torch.Tensor) -> torch.Tensor:
    """Token ids (B, tokens) to the conditioning (B, tokens, width)."""
    return text_encoder(ids)[0]
