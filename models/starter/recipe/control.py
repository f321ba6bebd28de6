"""Stage 5: a ControlNet for each kind of map (Zhang et al. 2023), on the frozen base."""

from __future__ import annotations

import numpy as np
import torch
from velatura.models.starter.recipe.cli import main
from velatura.models.starter.recipe.config import Config
from velatura.models.starter.recipe.data import Pictures
from velatura.models.starter.recipe.diffusion import LatentPictures, encode, noised
from velatura.models.starter.recipe.networks import CONTROL_KINDS, build_controlnet, fast_attention
from velatura.models.starter.recipe.start import started
from velatura.models.starter.recipe.training import Trainer, trained
from velatura.models.starter.recipe.unet import trained_base

# More captions are left out than for the base, so that the map alone must carry the composition.
CAPTION_DROPOUT = 0.3


def train_control(config: Config, kind: str) -> None:
    """Train the ControlNet for `kind` (line, depth or segmentation)."""
    torch.manual_seed(config.seed)
    tokenizer, text_encoder, unet = trained_base(config)
    pictures = Pictures(config, "train")
    data = LatentPictures(config, tokenizer, pictures)
    controlnet = fast_attention(build_controlnet(config, unet))
    # One zero layer on the way is enough to start from the base exactly; two would only slow it down.
    torch.nn.init.kaiming_normal_(controlnet.controlnet_cond_embedding.conv_out.weight)
    if config.start:
        controlnet = started(config, controlnet, f"controlnet-{kind}")
    elif kind != CONTROL_KINDS[0] and (config.work / f"control_{CONTROL_KINDS[0]}.pt").exists():
        # The first control has learnt how a map steers the base; only the maps' language is new.
        trained(f"control_{CONTROL_KINDS[0]}", config, controlnet, "controlnet").train()
    trainer = Trainer(f"control_{kind}", config, {"controlnet": controlnet.requires_grad_(True)})

    def loss(turn: int) -> torch.Tensor:
        indices = data.indices(turn, trainer.batch)
        batch = noised(data.x0(indices))
        context = encode(text_encoder, data.tokens(indices, CAPTION_DROPOUT))
        hint = control_hint(pictures.read(kind, indices)).to(config.device)
        down, middle = controlnet(batch.x, batch.timesteps, context, hint, return_dict=False)
        predicted = unet(
            batch.x,
            batch.timesteps,
            context,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample
        return batch.loss(predicted, config.min_snr_gamma)

    trainer.run(loss)


def control_hint(maps: np.ndarray) -> torch.Tensor:
    """(N, S, S[, 3]) uint8 to what a ControlNet is given: (N, 3, S, S) float32 in 0..1."""
    if maps.ndim == 3:
        maps = np.repeat(maps[..., None], 3, axis=-1)
    return torch.from_numpy(maps).permute(0, 3, 1, 2).float() / 255


if __name__ == "__main__":
    main(train_control, __doc__, CONTROL_KINDS)
