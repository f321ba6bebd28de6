"""The whole recipe, stage after stage; each goes on from its checkpoint."""

from __future__ import annotations

from velatura.models.starter.recipe.autoencoder import train_autoencoder
from velatura.models.starter.recipe.cli import main
from velatura.models.starter.recipe.config import STARTER, Config
from velatura.models.starter.recipe.control import train_control
from velatura.models.starter.recipe.crops import STAGES, train_crops
from velatura.models.starter.recipe.depth import train_depth
from velatura.models.starter.recipe.distil import distil
from velatura.models.starter.recipe.enlarger import train_enlarger
from velatura.models.starter.recipe.evaluate import evaluate, show
from velatura.models.starter.recipe.export import export, export_enlarger
from velatura.models.starter.recipe.judge import train_judge
from velatura.models.starter.recipe.lora import train_lora
from velatura.models.starter.recipe.networks import CONTROL_KINDS
from velatura.models.starter.recipe.render import render_pictures
from velatura.models.starter.recipe.rulers import export_rulers
from velatura.models.starter.recipe.soften import soften_pictures
from velatura.models.starter.recipe.tiny_decoder import train_tiny_decoder
from velatura.models.starter.recipe.unet import train_unet


def train_all(config: Config) -> None:
    """Render, train, export and measure."""
    render_pictures(config)
    train_autoencoder(config)
    train_judge(config)
    train_unet(config)
    train_control(config, CONTROL_KINDS[0])
    distil(config)
    train_tiny_decoder(config)
    train_depth(config)
    for kind in CONTROL_KINDS[1:]:
        train_control(config, kind)
    train_lora(config)
    export(config)
    soften_pictures(config)
    for stage in STAGES:
        train_crops(config, stage)
    train_enlarger(config)
    export_enlarger(config)
    export_rulers(config)
    show({str(STARTER): evaluate(config)})


if __name__ == "__main__":
    main(train_all, __doc__)
