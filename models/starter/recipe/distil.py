"""Stage 6: few steps without guidance, by latent consistency distillation into a LoRA.

Luo et al. 2023 (LCM, LCM-LoRA): the student's clean picture from x_t must equal its averaged self's
from the x_{t-k} that one guided DDIM step of the base leads to.
"""

from __future__ import annotations

import copy

import torch
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from velatura.models.starter.recipe.cli import main
from velatura.models.starter.recipe.config import Config
from velatura.models.starter.recipe.data import Pictures
from velatura.models.starter.recipe.diffusion import (
    LatentPictures,
    alphas_cumprod,
    encode,
    noised,
)
from velatura.models.starter.recipe.networks import add_lora
from velatura.models.starter.recipe.training import Trainer
from velatura.models.starter.recipe.unet import trained_base

NAME = "lora-few-step"
# Few strides: what is right at the end of the chain has fewer steps to travel to its start.
SOLVER_STEPS = 25
GUIDANCE = (4.0, 6.0)
# LCMScheduler's defaults; they make the student return x itself at t = 0.
SIGMA_DATA = 0.5
TIMESTEP_SCALING = 10.0
HUBER = 1e-3


def distil(config: Config) -> None:
    """Train the few-step LoRA; the result is `work/lora-few-step.safetensors`."""
    torch.manual_seed(config.seed)
    tokenizer, text_encoder, teacher = trained_base(config)
    data = LatentPictures(config, tokenizer, Pictures(config, "train"))
    rank = config.networks["lora"]["few_step_rank"]
    student = add_lora(copy.deepcopy(teacher), rank, convolutions=True)
    if config.start and (shipped := config.start / f"{NAME}.safetensors").exists():
        weights = {k.removeprefix("unet."): v.float() for k, v in load_file(shipped).items()}
        set_peft_model_state_dict(student, weights)
    trainer = Trainer("distil", config, {"unet": student}, decay=0.95)
    shares = alphas_cumprod().to(config.device)
    stride = 1000 // SOLVER_STEPS
    with torch.no_grad():
        empty = encode(text_encoder, data.empty[None].long().to(config.device))

    def loss(turn: int) -> torch.Tensor:
        indices = data.indices(turn, trainer.batch)
        grid = torch.randint(1, SOLVER_STEPS + 1, (len(indices),), device=config.device)
        t = grid * stride - 1
        batch = noised(data.x0(indices), t)
        t = batch.timesteps
        with torch.no_grad():
            context = encode(text_encoder, data.tokens(indices, 0.0))
            contexts = torch.cat([context, empty.expand_as(context)])
            both = teacher(batch.x.repeat(2, 1, 1, 1), t.repeat(2), contexts).sample.float()
            with_text, without = both.chunk(2)
            scale = torch.empty_like(batch.alpha).uniform_(*GUIDANCE)
            noise = without + scale * (with_text - without)
            before = (t - stride).clamp(min=0)
            share = shares[before][:, None, None, None]
            clean = (batch.x - batch.sigma * noise) / batch.alpha
            x_before = share.sqrt() * clean + (1 - share).sqrt() * noise
            target = consistent(trainer.averaged["unet"], x_before, before, context, shares)
        painted = consistent(student, batch.x, t, context, shares)
        error = ((painted - target).square() + HUBER**2).sqrt() - HUBER
        return (error * data.things(indices)).mean()

    trainer.run(loss)
    if trainer.rank == 0:
        save_lora(trainer.averaged["unet"], config, NAME)


def consistent(
    unet: torch.nn.Module,
    x: torch.Tensor,
    t: torch.Tensor,
    context: torch.Tensor,
    shares: torch.Tensor,
) -> torch.Tensor:
    """The consistency function f(x, t): the clean latents, x itself at t = 0."""
    share = shares[t][:, None, None, None]
    noise = unet(x, t, context).sample.float()
    clean = (x - (1 - share).sqrt() * noise) / share.sqrt()
    scaled = (TIMESTEP_SCALING * t.float())[:, None, None, None]
    skip = SIGMA_DATA**2 / (scaled.square() + SIGMA_DATA**2)
    out = scaled / (scaled.square() + SIGMA_DATA**2).sqrt()
    return skip * x + out * clean


def save_lora(unet: torch.nn.Module, config: Config, name: str) -> None:
    """Write the LoRA of `unet` in the layout that `load_lora_weights` reads, as fp16."""
    weights = get_peft_model_state_dict(unet)
    half = {f"unet.{k}": v.detach().half().contiguous().cpu() for k, v in weights.items()}
    save_file(half, config.work / f"{name}.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main(distil, __doc__)
