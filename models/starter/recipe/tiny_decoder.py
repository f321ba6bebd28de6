"""Stage 7: a tiny autoencoder for previews and live painting, in the layout of TAESD (Bohan 2023)."""

from __future__ import annotations

import numpy as np
import torch
from velatura.models.starter.recipe.autoencoder import (
    SCALING_FACTOR,
    picture_loss,
    random_crop,
)
from velatura.models.starter.recipe.cli import main
from velatura.models.starter.recipe.config import Config
from velatura.models.starter.recipe.data import Pictures, draw, to_tensor
from velatura.models.starter.recipe.networks import build_vae_tiny
from velatura.models.starter.recipe.start import finished_vae, started
from velatura.models.starter.recipe.training import Trainer


def train_tiny_decoder(config: Config) -> None:
    """Train both halves against the big encoder's latents; the result is `work/tiny_decoder.pt`."""
    torch.manual_seed(config.seed)
    pictures = Pictures(config, "train")
    vae = finished_vae(config)
    tiny = started(config, build_vae_tiny(config), "vae-tiny")
    trainer = Trainer("tiny_decoder", config, {"vae": tiny})
    batch, crop = trainer.batch, trainer.stage.crop

    def loss(turn: int) -> torch.Tensor:
        indices: np.ndarray = draw(config.seed, turn, len(pictures), batch)
        truth = random_crop(to_tensor(pictures.read("image", indices)), crop).to(config.device)
        with torch.no_grad():
            latents = SCALING_FACTOR * vae.encode(truth).latent_dist.mean
        painted = tiny.decode(latents).sample
        guess = tiny.encode(truth).latents
        # The encoder is the lesser half: live painting mostly decodes.
        return picture_loss(painted, truth) + 0.1 * (guess.float() - latents).square().mean()

    trainer.run(loss)


if __name__ == "__main__":
    main(train_tiny_decoder, __doc__)
