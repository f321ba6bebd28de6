"""The enlarger, four times wider and higher: from the starter's soft pictures to the renders.

Real-ESRGAN's compact network (Wang et al. 2021), as `spandrel` reads it from safetensors; L1, a
perceptual loss (Johnson et al. 2016) on a network of our own, and a critic of patches (Isola et al.
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
from velatura.models.starter.recipe.cli import main
from velatura.models.starter.recipe.config import Config
from velatura.models.starter.recipe.crops import CropNet, trained_crops
from velatura.models.starter.recipe.data import Pictures, to_tensor
from velatura.models.starter.recipe.soften import FACTOR
from velatura.models.starter.recipe.start import started_enlarger
from velatura.models.starter.recipe.training import Trainer

PERCEPTUAL_WEIGHT = 1.0
CRITIC_WEIGHT = 0.1
# The colours of large areas are the starter's own: how far 16 x 16 means may go from them.
COLOUR_WEIGHT = 2.0
# The part of the training without the critic, which otherwise has nothing but fog to look at.
ALONE = 0.1


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
    # Seventeen layers without a shortcut: torch's own start would leave nothing of the picture.
    for layer in network.body:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, a=0.25)
            nn.init.zeros_(layer.bias)
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
        value = (painted - truth).abs().mean()
        value = value + PERCEPTUAL_WEIGHT * perceptual_loss(perceptual, painted, truth)
        coarse = F.avg_pool2d(painted - truth, 16).abs().mean()
        value = value + COLOUR_WEIGHT * coarse
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


def perceptual_loss(net: CropNet, painted: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """L1 between activations, each level by its own scale."""
    with torch.no_grad():
        wanted = net.maps(truth)
    found = net.maps(painted)
    return sum(
        (a.float() - b.float()).abs().mean() / b.float().abs().mean()
        for a, b in zip(found, wanted, strict=True)
    ) / len(wanted)


def _crops(
    pictures: Pictures, count: int, side: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Soft crops (N, 3, side, side) in 0..1, some with noise, blur or JPEG's blocks, and the crops of
    the renders (N, 3, 4 side, 4 side) in -1..1; mirrored half of the time."""
    low, high = [], []
    for index in rng.integers(0, len(pictures), count):
        soft, image = pictures.one("soft", int(index)), pictures.one("image", int(index))
        top, left = rng.integers(0, soft.shape[0] - side + 1, 2)
        step = -1 if rng.random() < 0.5 else 1
        crop = disturbed(soft[top : top + side, left : left + side], rng)
        y, x, large = FACTOR * top, FACTOR * left, FACTOR * side
        low.append(crop[:, ::step])
        high.append(image[y : y + large, x : x + large][:, ::step])
    return to_tensor(np.stack(low)).add(1).div(2), to_tensor(np.stack(high))


def disturbed(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The crop (h, w, 3) uint8 with a little more wrong with it, three times in ten."""
    kind = rng.integers(0, 10)
    if kind == 0:
        noise = rng.normal(0, rng.uniform(1, 5), crop.shape)
        return np.clip(np.rint(crop + noise), 0, 255).astype(np.uint8)
    if kind == 1:
        return cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.3, 0.8))
    if kind == 2:
        quality = int(rng.integers(60, 96))
        packed = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return cv2.imdecode(packed, cv2.IMREAD_COLOR)
    return np.asarray(crop)


if __name__ == "__main__":
    main(train_enlarger, __doc__)
