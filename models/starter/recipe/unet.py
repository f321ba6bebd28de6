"""Stage 4: the text encoder and the UNet, together (Ho et al. 2020; Rombach et al. 2022).

Noise prediction with min-SNR weights (Hang et al. 2023), captions left out at random for
classifier-free guidance (Ho & Salimans 2022), averaged weights, a share of plain noise, and more
weight where things stand.
"""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer
from velatura.models.starter.recipe.cli import main
from velatura.models.starter.recipe.config import Config
from velatura.models.starter.recipe.data import Pictures
from velatura.models.starter.recipe.diffusion import LatentPictures, encode, noised
from velatura.models.starter.recipe.networks import build_text_encoder, build_unet, fast_attention
from velatura.models.starter.recipe.start import (
    started,
    starting_tokenizer,
    trained_or_started,
)
from velatura.models.starter.recipe.training import Trainer


def train_unet(config: Config) -> None:
    """Train both networks on all encoded pictures; the result is the checkpoint `work/unet.pt`."""
    torch.manual_seed(config.seed)
    tokenizer = starting_tokenizer(config)
    # Kept beside the weights: a later change of the world's words must not shift their numbers.
    tokenizer.save_pretrained(config.work / "tokenizer")
    data = LatentPictures(config, tokenizer, Pictures(config, "train"))
    unet = fast_attention(started(config, build_unet(config), "unet"))
    text_encoder = started(config, build_text_encoder(config, tokenizer), "text_encoder")
    text_encoder.set_attn_implementation("eager")
    trainer = Trainer("unet", config, {"unet": unet, "text_encoder": text_encoder})

    def loss(turn: int) -> torch.Tensor:
        indices = data.indices(turn, trainer.batch)
        batch = noised(data.x0(indices))
        context = encode(text_encoder, data.tokens(indices, config.dropout))
        predicted = unet(batch.x, batch.timesteps, context).sample
        return batch.loss(predicted, config.min_snr_gamma, data.things(indices))

    trainer.run(loss)


def trained_base(config: Config) -> tuple[CLIPTokenizer, CLIPTextModel, UNet2DConditionModel]:
    """Tokenizer, text encoder and UNet as the UNet's stage left them, or as shipped; frozen."""
    tokenizer = starting_tokenizer(config)
    text_encoder = build_text_encoder(config, tokenizer)
    unet = fast_attention(build_unet(config))
    return (
        tokenizer,
        trained_or_started("unet", config, text_encoder, "text_encoder", "text_encoder"),
        trained_or_started("unet", config, unet, "unet", "unet"),
    )


if __name__ == "__main__":
    main(train_unet, __doc__)
