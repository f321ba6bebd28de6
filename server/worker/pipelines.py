"""diffusers' pipelines, made to start from latents that the job has already noised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DiffusionPipeline,
    SchedulerMixin,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionDepth2ImgPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLControlNetImg2ImgPipeline,
    StableDiffusionXLControlNetInpaintPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
)
from velatura.models.families.base import Loaded
from velatura.server.worker.passes import GUIDANCE


class _Started:
    """A pipeline whose ``image`` already is the noisy start: the job's own noise is used for all."""

    def prepare_latents(
        self, image: torch.Tensor, timestep: Any, batch: int, images: int, dtype: Any, *_: Any
    ) -> torch.Tensor:
        return image.to(dtype)


class _Img2Img(_Started, StableDiffusionImg2ImgPipeline):
    pass


class _ControlNetImg2Img(_Started, StableDiffusionControlNetImg2ImgPipeline):
    pass


class _Depth2Img(_Started, StableDiffusionDepth2ImgPipeline):
    def prepare_depth_map(
        self, image: Any, depth: torch.Tensor, batch: int, guided: bool, dtype: Any, device: Any
    ) -> torch.Tensor:
        # The depth has the latents' size already: diffusers would take the latents for a picture
        # and shrink it by 8 once more.
        return (depth if guided else depth[1:]).to(device, dtype)


class _KeptVae:
    """A pipeline that leaves the autoencoder, which jobs share, in the precision that it has."""

    vae: AutoencoderKL

    def _encode_vae_image(self, image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        latents = self.vae.encode(image.to(self.vae.dtype)).latent_dist.sample(generator)
        return (self.vae.config.scaling_factor * latents).to(image.dtype)


class _XLImg2Img(_Started, StableDiffusionXLImg2ImgPipeline):
    pass


class _XLControlNetImg2Img(_Started, StableDiffusionXLControlNetImg2ImgPipeline):
    pass


class _XLInpaint(_KeptVae, StableDiffusionXLInpaintPipeline):
    pass


class _XLControlNetInpaint(_KeptVae, StableDiffusionXLControlNetInpaintPipeline):
    pass


# (what the UNet takes beside latents, there are ControlNets) -> pipeline
_Table = dict[tuple[str, bool], type[DiffusionPipeline]]
_SD: _Table = {
    ("", False): _Img2Img,
    ("", True): _ControlNetImg2Img,
    ("inpaint", False): StableDiffusionInpaintPipeline,
    ("inpaint", True): StableDiffusionControlNetInpaintPipeline,
    ("depth", False): _Depth2Img,
}
_SDXL: _Table = {
    ("", False): _XLImg2Img,
    ("", True): _XLControlNetImg2Img,
    ("inpaint", False): _XLInpaint,
    ("inpaint", True): _XLControlNetInpaint,
}
_PIPELINES: dict[str, _Table] = {"sd15": _SD, "sd2": _SD, "sdxl": _SDXL}


def guidance_embedding(unet: torch.nn.Module, guidance: float) -> torch.Tensor:
    """What a UNet that takes the guidance scale as an input is told of it: (1, width) float32."""
    scale, width = torch.tensor([guidance - 1]), unet.config.time_cond_proj_dim
    told: torch.Tensor = StableDiffusionImg2ImgPipeline.get_guidance_scale_embedding(
        None, scale, width
    )
    return told


@contextmanager
def told_guidance(unet: torch.nn.Module, guidance: float) -> Iterator[None]:
    """While it lasts, a UNet that takes the guidance scale as an input is told ``guidance``.

    LCM's own are distilled with it (Luo et al. 2023, section 4.3) and run once a step.
    """
    told = guidance_embedding(unet, guidance)

    def tell(_: Any, inputs: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return inputs, {**named, GUIDANCE: told.to(inputs[0])}

    handle = unet.register_forward_pre_hook(tell, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def make_pipeline(
    loaded: Loaded, scheduler: SchedulerMixin, nets: Sequence[ControlNetModel]
) -> DiffusionPipeline:
    """The pipeline that runs ``loaded`` with the ControlNets ``nets``; the parts are shared."""
    parts: dict[str, Any] = {"controlnet": list(nets)} if nets else {}
    if loaded.text_encoder_2 is not None:
        parts |= {
            "text_encoder_2": loaded.text_encoder_2,
            "tokenizer_2": loaded.tokenizer_2,
            # A painter's picture is not marked behind their back.
            "add_watermarker": False,
        }
    elif loaded.extra == "depth":
        # The job brings the depth itself.
        parts |= {"depth_estimator": None, "feature_extractor": None}
    else:
        parts |= {
            "safety_checker": None,
            "feature_extractor": None,
            "requires_safety_checker": False,
        }
    pipeline = _PIPELINES[loaded.family.name][loaded.extra, bool(nets)](
        vae=loaded.vae,
        text_encoder=loaded.text_encoder,
        tokenizer=loaded.tokenizer,
        unet=loaded.unet,
        scheduler=scheduler,
        **parts,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
