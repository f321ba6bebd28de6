"""Stage 8: the base grown by a fifth channel that carries depth, as in Stable Diffusion 2 depth."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from velatura.models.starter.recipe.cli import main
from velatura.models.starter.recipe.config import Config
from velatura.models.starter.recipe.data import Pictures
from velatura.models.starter.recipe.diffusion import LatentPictures, encode, noised
from velatura.models.starter.recipe.networks import build_unet, fast_attention
from velatura.models.starter.recipe.start import started
from velatura.models.starter.recipe.training import Trainer
from velatura.models.starter.recipe.unet import trained_base


def train_depth(config: Config) -> None:
    """Train the 5-channel UNet, starting from the base; the text encoder stays as it is."""
    torch.manual_seed(config.seed)
    tokenizer, text_encoder, base = trained_base(config)
    pictures = Pictures(config, "train")
    data = LatentPictures(config, tokenizer, pictures)
    grown = with_learnt_depth if config.start else with_depth_channel
    unet = grown(config, base)
    trainer = Trainer("depth", config, {"unet": unet})

    def loss(turn: int) -> torch.Tensor:
        indices = data.indices(turn, trainer.batch)
        batch = noised(data.x0(indices))
        context = encode(text_encoder, data.tokens(indices, config.dropout))
        depth = depth_latents(pictures.read("depth", indices), config.latent).to(config.device)
        predicted = unet(torch.cat([batch.x, depth], 1), batch.timesteps, context).sample
        return batch.loss(predicted, config.min_snr_gamma)

    trainer.run(loss)


def with_depth_channel(config: Config, base: UNet2DConditionModel) -> UNet2DConditionModel:
    """A 5-channel copy of `base` that at first ignores the fifth."""
    unet = fast_attention(build_unet(config, in_channels=5))
    unet.load_state_dict(_padded(base))
    return unet


def with_learnt_depth(config: Config, base: UNet2DConditionModel) -> UNet2DConditionModel:
    """`base` with what the shipped depth UNet learnt beyond the shipped base: the difference of their
    weights, added (task arithmetic, Ilharco et al. 2023)."""
    unet = fast_attention(build_unet(config, in_channels=5))
    learnt = started(config, unet, "unet-depth").state_dict()
    before = _padded(started(config, build_unet(config), "unet"))
    now = _padded(base)
    unet.load_state_dict({k: now[k] + learnt[k] - before[k] for k in now})
    return unet


def _padded(base: UNet2DConditionModel) -> dict[str, torch.Tensor]:
    weights = {k: v.float() for k, v in base.state_dict().items()}
    return weights | {"conv_in.weight": F.pad(weights["conv_in.weight"], (0, 0, 0, 0, 0, 1))}


def depth_latents(depth: np.ndarray, side: int) -> torch.Tensor:
    """(N, S, S) uint8 to (N, 1, side, side) in -1..1, scaled as StableDiffusionDepth2ImgPipeline does."""
    small = F.interpolate(
        torch.from_numpy(depth)[:, None].float(), (side, side), mode="bicubic", align_corners=False
    )
    low, high = small.amin((1, 2, 3), keepdim=True), small.amax((1, 2, 3), keepdim=True)
    return 2 * (small - low) / (high - low).clamp(min=1e-3) - 1


if __name__ == "__main__":
    main(train_depth, __doc__)
