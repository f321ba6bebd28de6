"""The enlarger, four times wider and higher: from the starter's soft pictures to the renders.

Real-ESRGAN's compact network (Wang et al. 2021), as `spandrel` reads it from safetensors; L1,
perceptual losses (Johnson et al. 2016) on a network of our own, and a critic of patches (Isola et al.
2017) with spectral norms (Miyato et al. 2018).
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from spandrel.architectures.Compact import Compact
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from velatura.models.enlarger import keep_colours
from velatura.models.starter.recipe.cli import main
from velatura.models.starter.recipe.config import Config
from velatura.models.starter.recipe.crops import CropNet, trained_crops
from velatura.models.starter.recipe.data import Pictures
from velatura.models.starter.recipe.soften import FACTOR
from velatura.models.starter.recipe.start import started_enlarger
from velatura.models.starter.recipe.training import Trainer

PIXEL_WEIGHT = 1.0
PERCEPTUAL_WEIGHT = 0.2
TEXTURE_WEIGHT = 0.2
WINDOWS = 4
CRITIC_WEIGHT = 0.1
# Pairs further apart than this (of 1, means of 4 x 4 soft pixels) show different things: the starter
# refined something away.
MOST_APART = 0.045
# Draws for each crop, after which any will do: an untrained starter has no better ones.
MOST_TRIES = 10
# The part of the training without the critic, which otherwise has nothing but fog to look at.
ALONE = 0.05


class Critic(nn.Module):
    """Tells renders from enlarged pictures, patch by patch: (N, 3, S, S) in -1..1 to logits."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.body = nn.Sequential(
            spectral_norm(nn.Conv2d(3, width, 4, 2, 1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(width, 2 * width, 4, 2, 1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(2 * width, 4 * width, 4, 2, 1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(4 * width, 4 * width, 3, 1, 1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(4 * width, 1, 3, 1, 1)),
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.body(pictures)


def build_enlarger(config: Config) -> Compact:
    """The network, untrained: pictures (N, 3, h, w) in 0..1 to (N, 3, 4h, 4w)."""
    shape = config.networks["enlarger"]
    network = Compact(num_feat=shape["width"], num_conv=shape["layers"], upscale=FACTOR)
    # Seventeen layers without a shortcut: from an ordinary start nothing of the picture arrives at
    # the last. Each begins as the identity with a little noise, half of its channels linear.
    for layer in network.body:
        if isinstance(layer, nn.PReLU):
            layer.weight.data[: shape["width"] // 2] = 1
        else:
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    for layer in network.body[2:-1:2]:
        layer.weight.data.mul_(0.2)
        layer.weight.data[..., 1, 1] += torch.eye(shape["width"])
    network.body[-1].weight.data.mul_(0.02)
    return network


def enlarge(network: Compact, soft: torch.Tensor) -> torch.Tensor:
    """What `network(soft)` is, with the picture itself added in full precision under autocast."""
    change = soft
    for layer in network.body:
        change = layer(change)
    base = F.interpolate(soft, scale_factor=FACTOR, mode="nearest")
    return base + network.upsampler(change).float()


def train_enlarger(config: Config) -> None:
    """Train on `large-train` with its soft pictures; the result is `work/enlarger.pt`."""
    torch.manual_seed(config.seed)
    pictures = Pictures(config, "large-train", named="soft")
    perceptual = trained_crops(config, "perceptual")
    enlarger = started_enlarger(config, build_enlarger(config))
    trainer = Trainer("enlarger", config, {"enlarger": enlarger, "critic": Critic()})
    critic = trainer.networks["critic"]

    def loss(turn: int) -> torch.Tensor:
        rng = np.random.default_rng((config.seed, turn))
        soft, truth = _crops(pictures, trainer.batch, trainer.stage.crop, rng)
        soft, truth = soft.to(config.device), truth.to(config.device)
        painted = enlarge(enlarger, soft) * 2 - 1
        apart, texture = perceptual_losses(perceptual, painted, truth)
        value = PIXEL_WEIGHT * (painted - truth).abs().mean()
        value = value + PERCEPTUAL_WEIGHT * apart + TEXTURE_WEIGHT * texture
        if trainer.progress < ALONE and not config.start:
            return value
        return value + adversarial_loss(critic, painted, truth)

    trainer.run(loss)


def adversarial_loss(critic: nn.Module, painted: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """What the enlarger wants and what the critic wants, in one sum for one optimiser: the critic is
    frozen in the first, the picture in the second."""
    frozen = {k: v.detach() for k, v in critic.named_parameters()}
    fooled = torch.func.functional_call(critic, frozen, (painted,)).float()
    real, fake = critic(truth).float(), critic(painted.detach()).float()
    caught = F.softplus(-real).mean() + F.softplus(fake).mean()
    return CRITIC_WEIGHT * F.softplus(-fooled).mean() + caught


def perceptual_losses(
    net: CropNet, painted: torch.Tensor, truth: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """How far activations are apart place by place, and how far their spread within small windows is
    (Huang & Belongie 2017): strokes need not lie where they did, but as thick and as strong.

    The spread of the steps between neighbouring pixels counts as one level more.
    """
    with torch.no_grad():
        wanted = net.maps(truth)
    found = net.maps(painted)
    apart = [
        (a - b).abs().mean() / (b - b.mean((2, 3), keepdim=True)).abs().mean()
        for a, b in zip(found, wanted, strict=True)
    ]
    pairs = [(_steps(painted), _steps(truth)), *zip(found, wanted, strict=True)]
    spreads = [(_spread(a), _spread(b)) for a, b in pairs]
    texture = [(a - b).abs().mean() / b.mean() for a, b in spreads]
    return sum(apart) / len(apart), sum(texture) / len(texture)


def _steps(pictures: torch.Tensor) -> torch.Tensor:
    across, down = (
        pictures[..., 1:] - pictures[..., :-1],
        pictures[..., 1:, :] - pictures[..., :-1, :],
    )
    return torch.cat([across[..., :-1, :], down[..., :-1]], 1)


def _spread(maps: torch.Tensor) -> torch.Tensor:
    """Standard deviations within WINDOWS x WINDOWS windows."""
    mean, square = (F.adaptive_avg_pool2d(m, WINDOWS) for m in (maps, maps.square()))
    return (square - mean.square()).clamp(min=0).add(1e-5).sqrt()


def _crops(
    pictures: Pictures, count: int, side: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Soft crops (N, 3, side, side) in 0..1, some with noise, blur or JPEG's blocks, and the crops of
    the renders (N, 3, 4 side, 4 side) in -1..1, in the soft ones' colours; mirrored half of the time.
    """
    low, high = [], []
    tries = 0
    while len(low) < count:
        tries += 1
        index = int(rng.integers(0, len(pictures)))
        soft, image = pictures.one("soft", index), pictures.one("image", index)
        top, left = rng.integers(0, soft.shape[0] - side + 1, 2)
        step = -1 if rng.random() < 0.5 else 1
        y, x, large = FACTOR * top, FACTOR * left, FACTOR * side
        crop = soft[top : top + side, left : left + side][:, ::step].astype(np.float32) / 255
        render = image[y : y + large, x : x + large][:, ::step].astype(np.float32) / 255
        if _apart(crop, render) > MOST_APART and tries < MOST_TRIES * count:
            continue
        low.append(disturbed(crop, rng))
        high.append(keep_colours(render, crop))
    return _tensor(low), _tensor(high).mul(2).sub(1)


def _apart(crop: np.ndarray, render: np.ndarray) -> float:
    side = crop.shape[0] // 4
    small, large = (
        cv2.resize(p, (side, side), interpolation=cv2.INTER_AREA) for p in (crop, render)
    )
    return float(np.abs(small - large).mean())


def _tensor(pictures: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def disturbed(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The crop (h, w, 3) float32 in 0..1 with a little more wrong with it, three times in ten."""
    kind = rng.integers(0, 10)
    if kind == 0:
        noise = rng.normal(0, rng.uniform(0.004, 0.02), crop.shape)
        return np.clip(crop + noise, 0, 1).astype(np.float32)
    if kind == 1:
        return cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.3, 0.8))
    if kind == 2:
        quality = int(rng.integers(60, 96))
        pixels = np.rint(crop * 255).astype(np.uint8)
        packed = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return cv2.imdecode(packed, cv2.IMREAD_COLOR).astype(np.float32) / 255
    return crop


if __name__ == "__main__":
    main(train_enlarger, __doc__)
