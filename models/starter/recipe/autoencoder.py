"""Stage 2: the autoencoder between pictures and latents (Rombach et al. 2022), and all latents.

No perceptual network and no adversary: L1 and squared error at several scales, which keep colours,
the error of the steps between neighbours, which keeps edges, and a small KL term. The last part trains the decoder alone, so that it fits the final latents.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from velatura.models.starter.recipe.cli import main
from velatura.models.starter.recipe.config import Config
from velatura.models.starter.recipe.data import Pictures, draw, to_tensor
from velatura.models.starter.recipe.encode import encode_pictures, moments
from velatura.models.starter.recipe.networks import build_vae
from velatura.models.starter.recipe.start import started
from velatura.models.starter.recipe.training import Trainer, trained, wait

# Stable Diffusion 1.5's factor. Latents are normalised to fit it, as some tools have it built in.
SCALING_FACTOR = 0.18215
KL_WEIGHT = 1e-4
JOINT = 0.8
SAMPLE = 512  # pictures whose latents give the mean and the scale


def train_autoencoder(config: Config) -> None:
    """Train, normalise the latents, save `work/vae`, and encode every training picture.

    From a shipped checkpoint only the decoder is trained, so that the latents, and all that was
    trained on them, keep their meaning.
    """
    torch.manual_seed(config.seed)
    pictures = Pictures(config, "train")
    vae = started(config, build_vae(config), "vae")
    if config.start:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    trainer = Trainer("autoencoder", config, {"vae": vae})
    batch, crop = trainer.batch, trainer.stage.crop

    def target(turn: int) -> torch.Tensor:
        images = pictures.read("image", draw(config.seed, turn, len(pictures), batch))
        return random_crop(to_tensor(images), crop).to(config.device)

    def joint(turn: int) -> torch.Tensor:
        truth = target(turn)
        posterior = vae.encode(truth).latent_dist
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return picture_loss(vae.decode(posterior.sample()).sample, truth) + KL_WEIGHT * kl

    def decoder_only(turn: int) -> torch.Tensor:
        truth = target(turn)
        with torch.no_grad():
            latents = vae.encode(truth).latent_dist.mean
        return picture_loss(vae.decode(latents).sample, truth)

    if not config.start and trainer.progress < JOINT:
        trainer.run(joint, stop_at=JOINT)
        for part in ("encoder", "quant_conv"):
            averaged = getattr(trainer.averaged["vae"], part)
            getattr(vae, part).load_state_dict(averaged.state_dict())
        trainer.save()
    trainer.run(decoder_only)
    if trainer.rank == 0:
        finish_autoencoder(config, pictures)
    wait()
    if not (config.start and (config.work / "latents.npy").exists()):
        encode_pictures(config)


def finish_autoencoder(config: Config, pictures: Pictures) -> None:
    """Save the network as `work/vae`; each latent channel normalised, unless it was so from the start."""
    vae = trained("autoencoder", config, build_vae(config), "vae")
    vae.register_to_config(scaling_factor=SCALING_FACTOR)
    if not config.start:
        sample = moments(vae, pictures, np.linspace(0, len(pictures) - 1, SAMPLE).astype(int))
        normalise_latents(vae, sample[:, :4])
    vae.save_pretrained(config.work / "vae")


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, latents: torch.Tensor) -> None:
    """Fold shift and scale into the 1 x 1 convolutions around the latents, without changing pictures.

    Afterwards every channel of `latents` (N, 4, h, w), as the encoder gives them, has mean 0 and
    standard deviation 1 / SCALING_FACTOR.
    """
    shift = latents.mean((0, 2, 3)).to(vae.device)
    scale = (1 / (SCALING_FACTOR * latents.std((0, 2, 3)))).to(vae.device)
    before, after = vae.quant_conv, vae.post_quant_conv
    after.bias += after.weight[:, :, 0, 0] @ shift
    after.weight /= scale[None, :, None, None]
    before.weight[:4] *= scale[:, None, None, None]
    before.bias[:4] = (before.bias[:4] - shift) * scale
    before.bias[4:] += 2 * scale.log()


def random_crop(pictures: torch.Tensor, side: int) -> torch.Tensor:
    """The same random square of all pictures, on the latent grid, mirrored half of the time."""
    limit = (pictures.shape[-1] - side) // 8 + 1
    top, left = (8 * int(v) for v in torch.randint(0, limit, (2,)))
    crop = pictures[..., top : top + side, left : left + side]
    return crop.flip(-1) if torch.rand(()) < 0.5 else crop


def picture_loss(painted: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """L1 and squared error over four scales, of the mean colour, and L1 of the steps from pixel to
    pixel; the coarse scales hold the light, the steps the edges."""
    error = painted.float() - truth
    loss = error.abs().mean() + 2 * error.square().mean() + error.mean((2, 3)).abs().mean()
    loss = loss + error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    for _ in range(3):
        error = F.avg_pool2d(error, 2)
        loss = loss + error.abs().mean()
    return loss


if __name__ == "__main__":
    main(train_autoencoder, __doc__)
