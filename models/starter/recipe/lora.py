"""Stage 9: a style LoRA (Hu et al. 2021): cyanotype, a style that the base has never seen."""

from __future__ import annotations

import copy

import numpy as np
import torch
from velatura.models.starter.recipe.autoencoder import SCALING_FACTOR
from velatura.models.starter.recipe.cli import main
from velatura.models.starter.recipe.config import Config
from velatura.models.starter.recipe.data import Pictures, draw
from velatura.models.starter.recipe.diffusion import LatentPictures, encode, noised
from velatura.models.starter.recipe.distil import save_lora
from velatura.models.starter.recipe.encode import posterior
from velatura.models.starter.recipe.networks import add_lora
from velatura.models.starter.recipe.start import finished_vae
from velatura.models.starter.recipe.training import Trainer
from velatura.models.starter.recipe.unet import trained_base

# A blueprint: iron blue in the shadows, paper in the light.
SHADOW, LIGHT = np.array([10, 40, 92]), np.array([240, 238, 224])

EXAMPLES = 256  # as many as people have for a style of their own


def train_lora(config: Config) -> None:
    """Train on cyanotypes of the first pictures; the result is `work/lora-style-cyanotype.safetensors`."""
    torch.manual_seed(config.seed)
    tokenizer, text_encoder, base = trained_base(config)
    pictures = Pictures(config, "train")
    data = LatentPictures(config, tokenizer, pictures)
    examples = pictures.read("image", np.arange(min(EXAMPLES, len(pictures))))
    printed = SCALING_FACTOR * posterior(finished_vae(config), cyanotype(examples))[:, :4]
    # Attention alone cannot change a palette here: it only stands at the lower resolutions.
    unet = add_lora(copy.deepcopy(base), config.networks["lora"]["style_rank"], convolutions=True)
    trainer = Trainer("lora", config, {"unet": unet}, decay=0.99)

    def loss(turn: int) -> torch.Tensor:
        indices = draw(config.seed, turn, len(printed), trainer.batch)
        batch = noised(printed[torch.from_numpy(indices)].to(config.device))
        with torch.no_grad():
            context = encode(text_encoder, data.tokens(indices, config.dropout))
        predicted = unet(batch.x, batch.timesteps, context).sample
        return batch.loss(predicted, config.min_snr_gamma)

    trainer.run(loss)
    if trainer.rank == 0:
        save_lora(trainer.averaged["unet"], config, "lora-style-cyanotype")


def cyanotype(images: np.ndarray) -> np.ndarray:
    """(N, S, S, 3) uint8 pictures printed in blue on paper, as uint8."""
    light = (images @ np.array([0.299, 0.587, 0.114]) / 255)[..., None]
    return (SHADOW + (LIGHT - SHADOW) * light).round().astype(np.uint8)


if __name__ == "__main__":
    main(train_lora, __doc__)
