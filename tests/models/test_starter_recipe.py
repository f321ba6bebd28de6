"""The starter's recipe: every stage runs end to end on a handful of pictures, and can go on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from velatura.models.enlarger import ENLARGER
from velatura.models.starter.recipe import config as recipe_config
from velatura.models.starter.recipe.autoencoder import (
    SCALING_FACTOR,
    normalise_latents,
    picture_loss,
    train_autoencoder,
)
from velatura.models.starter.recipe.config import Config, Stage
from velatura.models.starter.recipe.control import train_control
from velatura.models.starter.recipe.crops import STAGES, train_crops
from velatura.models.starter.recipe.data import Pictures, to_tensor
from velatura.models.starter.recipe.depth import (
    depth_latents,
    train_depth,
    with_depth_channel,
    with_learnt_depth,
)
from velatura.models.starter.recipe.diffusion import (
    THINGS,
    LatentPictures,
    noised,
    thing_mask,
)
from velatura.models.starter.recipe.distil import consistent, distil
from velatura.models.starter.recipe.encode import encode_pictures, moments
from velatura.models.starter.recipe.enlarger import (
    CRITIC_WEIGHT,
    Critic,
    adversarial_loss,
    train_enlarger,
)
from velatura.models.starter.recipe.evaluate import evaluate
from velatura.models.starter.recipe.export import check_sizes, export, export_enlarger
from velatura.models.starter.recipe.judge import numbers, places, small_classes, train_judge
from velatura.models.starter.recipe.lora import train_lora
from velatura.models.starter.recipe.measures import edge_agreement, fidelity
from velatura.models.starter.recipe.networks import CONTROL_KINDS, build_unet, build_vae
from velatura.models.starter.recipe.prompts import full_prompt
from velatura.models.starter.recipe.render import render_pictures
from velatura.models.starter.recipe.rulers import VERSION, export_rulers, load_rulers
from velatura.models.starter.recipe.sharpness import frechet, sharpness
from velatura.models.starter.recipe.soften import soften_pictures
from velatura.models.starter.recipe.tiny import make_tiny, tiny_config
from velatura.models.starter.recipe.tiny_decoder import train_tiny_decoder
from velatura.models.starter.recipe.tokenizer import build_tokenizer
from velatura.models.starter.recipe.training import Trainer
from velatura.models.starter.recipe.unet import train_unet
from velatura.models.starter.recipe.world import PALETTE, VOCABULARY, labels, random_scene


def _toy(work: Path) -> Config:
    config = tiny_config(work)
    stage = Stage(steps=1, minutes=5.0, batch=2, rate=1e-3, crop=32)
    return replace(config, pictures=4, large_pictures=4, stages=dict.fromkeys(config.stages, stage))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Config:
    config = _toy(tmp_path_factory.mktemp("recipe"))
    render_pictures(config, workers=1)
    return config


@pytest.fixture(scope="module")
def exported(rendered) -> tuple[Config, Path]:
    torch.set_num_threads(1)
    for stage in (train_autoencoder, train_judge, train_unet):
        stage(rendered)
    for kind in CONTROL_KINDS:
        train_control(rendered, kind)
    for stage in (distil, train_tiny_decoder, train_depth, train_lora):
        stage(rendered)
    folder = rendered.work / "starter"
    export(rendered, folder)
    soften_pictures(rendered, folder)
    for stage in STAGES:
        train_crops(rendered, stage)
    train_enlarger(rendered)
    export_enlarger(rendered, folder)
    export_rulers(rendered, rendered.work / "rulers")
    return rendered, folder


def test_every_stage_runs_and_the_export_paints_with_every_part(exported):
    _, folder = exported
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    assert pipeline.text_encoder.dtype == pipeline.unet.dtype == torch.float32
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(folder, weight_name="lora-few-step.safetensors", adapter_name="few")
    pipeline.load_lora_weights(
        folder, weight_name="lora-style-cyanotype.safetensors", adapter_name="style"
    )
    pipeline.set_adapters(["few", "style"])
    pipeline.vae = AutoencoderTiny.from_pretrained(folder / "vae-tiny")
    picture = pipeline("a house on a meadow", num_inference_steps=2, output_type="np").images
    assert picture.shape == (1, 64, 64, 3)
    for kind in CONTROL_KINDS:
        assert ControlNetModel.from_pretrained(folder / f"controlnet-{kind}").config


def test_evaluate_measures_every_row(exported, monkeypatch):
    config, folder = exported
    monkeypatch.setattr("velatura.models.starter.recipe.paint.STEPS", 2)
    monkeypatch.setattr("velatura.models.starter.recipe.evaluate.VARIETY_SCENES", 50)
    figures = evaluate(config, folder, scenes=2, rulers=config.work / "rulers")
    assert set(figures) >= {
        "autoencoder",
        "judge on renders",
        "judge on round trips",
        "generate, interpolated (large)",
        "generate, enlarged (large)",
        "refine, interpolated (large)",
        "refine, enlarged (large)",
        "Fréchet distance",
        "base",
        "shuffled prompts",
        "without guidance",
        "few steps",
        "variety",
        "tiny decoder",
        "line control",
        "depth control",
        "segmentation control",
        "depth UNet, influence 1",
        "depth UNet, influence 2",
        "depth UNet, without",
        "seconds on this machine",
    }
    assert 0 <= figures["base"]["time"] <= 1
    assert figures["autoencoder"]["psnr_db"] > 0
    assert {"number", "colour", "object"} <= set(figures["base"])


def test_the_enlarger_goes_on_from_its_exported_weights(exported, continued):
    config, folder = exported
    (continued.work / "perceptual.pt").symlink_to(config.work / "perceptual.pt")
    train_enlarger(continued)
    export_enlarger(continued, continued.work)
    before, after = (load_file(f / ENLARGER) for f in (folder, continued.work))
    assert before.keys() == after.keys()
    assert max((before[k] - after[k]).abs().max().item() for k in before) < 0.01


def test_what_was_softened_is_not_softened_again(exported):
    config, folder = exported
    path = next((config.work / "pictures" / "large-train").glob("*/soft.npy"))
    assert np.load(path).shape == (4, 48, 48, 3)
    np.save(path, kept := np.load(path) // 2)
    soften_pictures(config, folder)
    assert (np.load(path) == kept).all()


def test_rulers_of_two_versions_are_refused(exported, tmp_path):
    rulers = exported[0].work / "rulers"
    for name in ("judge", "crop_judge"):
        shutil.copyfile(rulers / f"{name}.safetensors", tmp_path / f"{name}.safetensors")
    assert load_rulers(tmp_path)[2] == VERSION
    path = tmp_path / "judge.safetensors"
    save_file(load_file(path), path, {"version": "0"})
    with pytest.raises(ValueError, match="versions 0, 1: one is allowed"):
        load_rulers(tmp_path)


def test_the_critic_learns_nothing_from_the_enlargers_wishes_nor_it_from_the_critics():
    torch.manual_seed(0)
    critic = Critic(8).eval()  # no step of the spectral norms in between
    painted = torch.rand(1, 3, 32, 32, requires_grad=True)
    wishes = torch.autograd.grad(
        adversarial_loss(critic, painted, torch.rand(1, 3, 32, 32)), painted, retain_graph=True
    )[0]
    frozen = {k: v.detach() for k, v in critic.named_parameters()}
    fooled = torch.func.functional_call(critic, frozen, (painted,))
    alone = torch.autograd.grad(CRITIC_WEIGHT * F.softplus(-fooled).mean(), painted)[0]
    assert torch.allclose(wishes, alone, atol=1e-7)


def test_density_counts_every_thing_once():
    seeds = [900_000_000 + i for i in range(60)]
    _, density = places(seeds)
    counted = numbers(seeds)
    assert counted.max() > 1
    assert torch.allclose(density.sum((2, 3)), counted, atol=1e-4)


def test_a_number_is_told_in_known_words():
    label = {"style": "oil", "time": "day", "ground": "sea", "objects": {"boat": "red"}}
    assert full_prompt(label, {"boat": 2}) == "oil painting, two boats with red sails at sea by day"
    words = {word for n in (2, 3, 4) for word in full_prompt(label, {"boat": n}).split()}
    assert {word.strip(",") for word in words} <= set(VOCABULARY)


def test_sharpness_of_the_render_is_one_and_of_its_blur_less():
    rng = np.random.default_rng(0)
    renders = rng.integers(0, 256, (4, 160, 160, 3), np.uint8)
    styles = ["oil", "oil", "ink", "ink"]
    same = sharpness(renders, renders, styles)
    assert same == dict.fromkeys(same, 1.0)
    blurred = np.stack([cv2.GaussianBlur(r, (0, 0), 2) for r in renders])
    found = sharpness(blurred, renders, styles)
    assert set(found) == {"gradient", "fine_energy", "gradient_oil", "gradient_ink"}
    assert max(found.values()) < 0.4


def test_the_frechet_distance_of_two_normals_is_the_textbooks():
    rng = np.random.default_rng(0)
    a = rng.normal(0, 1, (20_000, 3))
    b = rng.normal((3, 0, 0), 2, (20_000, 3))
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet(a, b) == pytest.approx(9 + 3 * (1 - 2) ** 2, rel=0.05)


@pytest.fixture(scope="module")
def continued(exported, tmp_path_factory) -> Config:
    """A work folder with pictures only, that goes on from what was exported."""
    config, folder = exported
    work = tmp_path_factory.mktemp("continued")
    (work / "pictures").symlink_to(config.work / "pictures")
    return replace(config, work=work, start=folder)


def test_fine_tuning_the_autoencoder_changes_its_decoder_and_no_latent(continued):
    train_autoencoder(continued)
    before, after = (
        AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32).state_dict()
        for folder in (continued.start, continued.work)
    )
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"decoder", "post_quant_conv"}
    assert (continued.work / "latents.npy").exists()


def test_every_stage_can_go_on_from_an_exported_checkpoint(continued):
    encode_pictures(continued)
    for stage in (train_unet, distil, train_tiny_decoder, train_depth, train_lora):
        stage(continued)
    train_control(continued, "line")
    folder = continued.work / "starter"
    export(continued, folder)
    again = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    shipped = UNet2DConditionModel.from_pretrained(
        continued.start / "unet", torch_dtype=torch.float32
    )
    pairs = zip(again.parameters(), shipped.parameters(), strict=True)
    # One step at the warm-up's first rate: near the shipped weights, far from random ones.
    assert max((a - b).abs().max().item() for a, b in pairs) < 0.01


def test_the_depth_unet_of_an_unchanged_base_is_the_shipped_one(continued):
    base = UNet2DConditionModel.from_pretrained(continued.start / "unet", torch_dtype=torch.float32)
    shipped = UNet2DConditionModel.from_pretrained(
        continued.start / "unet-depth", torch_dtype=torch.float32
    )
    grown = with_learnt_depth(continued, base).state_dict()
    for name, weight in shipped.state_dict().items():
        assert torch.allclose(grown[name], weight, atol=1e-5), name


def test_an_interrupted_stage_goes_on_to_the_same_weights(rendered, tmp_path):
    def train(work: Path, *stops: float) -> torch.Tensor:
        stages = {"unet": Stage(steps=4, minutes=60.0, batch=2, rate=1e-2)}
        for stop in stops:
            torch.manual_seed(0)
            network = torch.nn.Linear(3, 3)
            trainer = Trainer("unet", replace(rendered, work=work, stages=stages), {"n": network})
            trainer.run(lambda _, n=network: n(torch.randn(2, 3)).square().mean(), stop_at=stop)
        return trainer.averaged["n"].weight

    whole = train(tmp_path / "whole", 1.0)
    halves = train(tmp_path / "halves", 0.5, 1.0)
    assert torch.equal(whole, halves)


def test_normalised_latents_have_unit_variance_and_the_same_pictures(rendered):
    torch.manual_seed(0)
    vae = build_vae(rendered).eval()
    pictures = Pictures(rendered, "train")
    images = to_tensor(pictures.read("image", np.arange(4)))
    with torch.no_grad():
        before = vae.decode(vae.encode(images).latent_dist.mean).sample
        normalise_latents(vae, vae.encode(images).latent_dist.mean)
        after = vae.decode(vae.encode(images).latent_dist.mean).sample
    latents = SCALING_FACTOR * moments(vae, pictures, np.arange(4))[:, :4]
    assert latents.mean((0, 2, 3)).abs().max() < 0.05
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 0.05
    assert (before - after).abs().max() < 1e-3


def test_a_depth_channel_changes_nothing_before_training(rendered):
    torch.manual_seed(0)
    base = build_unet(rendered)
    grown = with_depth_channel(rendered, base)
    x, context = torch.randn(1, 4, 8, 8), torch.randn(1, 48, 32)
    depth = torch.rand(1, 1, 8, 8)
    with torch.no_grad():
        expected = base(x, 500, context).sample
        found = grown(torch.cat([x, depth], 1), 500, context).sample
    assert torch.allclose(expected, found, atol=1e-5)


def test_depth_is_scaled_to_minus_one_and_one():
    ramp = np.tile(np.arange(64, dtype=np.uint8), (64, 1))[None]
    small = depth_latents(ramp, 8)
    assert small.shape == (1, 1, 8, 8)
    assert small.min() == -1
    assert small.max() == 1


def test_the_consistency_function_returns_its_input_at_time_zero():
    class Noise(torch.nn.Module):
        def forward(self, x, t, context):
            return type("Output", (), {"sample": torch.randn_like(x)})

    x = torch.randn(2, 4, 8, 8)
    zero = torch.zeros(2, dtype=torch.long)
    assert torch.allclose(consistent(Noise(), x, zero, x, torch.full((1000,), 0.5)), x)


def test_noised_latents_keep_their_variance():
    torch.manual_seed(0)
    batch = noised(torch.randn(64, 4, 16, 16))
    assert abs(batch.x.var().item() - 1) < 0.05
    assert batch.loss(batch.noise, 5.0).item() == 0


def test_an_error_costs_more_where_a_thing_stands():
    torch.manual_seed(0)
    batch = noised(torch.randn(16, 4, 4, 4))
    where = torch.full((16, 1, 4, 4), 0.5)
    where[..., :1] = 2.5
    on, beside = batch.noise.clone(), batch.noise.clone()
    on[..., 0] += 1
    beside[..., 1] += 1
    assert batch.loss(on, 5.0, where).item() == pytest.approx(5 * batch.loss(beside, 5.0, where))


def test_things_weigh_more_than_what_is_around_them_and_the_mean_stays(rendered):
    pictures = Pictures(rendered, "train")
    train_autoencoder(rendered)  # goes on where it ended, if it has run
    tokenizer = build_tokenizer(VOCABULARY, rendered.tokens)
    indices = np.arange(len(pictures))
    weights = LatentPictures(rendered, tokenizer, pictures).things(indices)
    assert weights.shape == (len(pictures), 1, rendered.latent, rendered.latent)
    assert weights.mean().item() == pytest.approx(1.0, abs=1e-4)
    covered = thing_mask(torch.from_numpy(pictures.read("segmentation", indices)))
    assert 0 < covered.mean() < 0.6
    strides = weights.repeat_interleave(8, 2).repeat_interleave(8, 3)[:, 0]
    assert strides[covered > 0].mean() > 1.3 * strides[covered == 0].mean()


@pytest.mark.parametrize("name", PALETTE)
def test_only_things_with_words_of_their_own_are_in_the_mask(name):
    flat = torch.tensor(PALETTE[name], dtype=torch.uint8).expand(1, 4, 4, 3)
    assert thing_mask(flat).mean().item() == (name in THINGS)


def test_a_lost_edge_costs_more_than_the_same_error_spread_out():
    truth = torch.zeros(1, 3, 32, 32)
    spread, edge = truth + 0.1, truth.clone()
    edge[..., ::2] = 0.1
    edge[..., 1::2] = -0.1  # the same size everywhere, and none of it left at a coarser scale
    steps = 0.2 * (1 - 1 / 32)
    found = picture_loss(edge, truth).item() - 2 * 0.01 - 0.1
    assert found >= steps - 1e-3
    assert picture_loss(spread, truth).item() == pytest.approx(0.1 * 5 + 0.02, abs=1e-4)


def test_a_blind_row_shows_nothing_of_its_picture_and_is_learnt_from_it():
    rows = []
    for picture in (torch.zeros(4, 4, 8, 8), torch.full((4, 4, 8, 8), 3.0)):
        torch.manual_seed(0)
        batch = noised(picture)
        rows.append(batch.x[-1])
        clean = (batch.x - batch.sigma * batch.noise) / batch.alpha
        assert torch.allclose(clean, picture, atol=1e-4)
        assert batch.timesteps[-1] == 999
        assert batch.loss(batch.noise, 5.0).item() == 0
    assert torch.allclose(*rows, atol=1e-6)


def test_known_words_are_one_token_and_unknown_words_never_fail():
    tokenizer = build_tokenizer(VOCABULARY, 48)
    assert all(len(tokenizer.tokenize(word)) == 1 for word in VOCABULARY)
    assert len(tokenizer.tokenize("zeppelin")) > 1
    assert tokenizer.get_vocab() == build_tokenizer(reversed(VOCABULARY), 48).get_vocab()
    ids = tokenizer("漆 🎨 \x00 zeppelin" * 50, padding="max_length", truncation=True).input_ids
    assert len(ids) == 48


def test_every_word_of_a_full_prompt_is_known():
    prompts = {full_prompt(labels(random_scene(seed))) for seed in range(300)}
    words = {word for prompt in prompts for word in prompt.replace(",", " ").split()}
    assert words <= set(VOCABULARY)


def test_segmentation_colours_are_read_back_exactly():
    colours = np.array(list(PALETTE.values()), np.uint8)
    maps = np.broadcast_to(colours[:, None, None], (len(colours), 64, 64, 3))
    assert (small_classes(maps).numpy() == np.arange(len(colours))[:, None, None]).all()


def test_edges_agree_with_themselves_and_not_with_others():
    picture = np.zeros((1, 64, 64, 3), np.uint8)
    picture[:, 16:48, 16:48] = 255
    line = np.zeros((1, 64, 64), np.uint8)
    line[:, 16:48, [16, 47]] = line[:, [16, 47], 16:48] = 255
    assert edge_agreement(picture, line) > 0.95
    assert edge_agreement(picture, np.roll(line, 8, (1, 2))) < 0.5


def test_fidelity_of_one_step_of_error_is_48_decibels():
    truth = np.full((2, 8, 8, 3), 100, np.uint8)
    figures = fidelity(truth, truth + 1)
    assert figures["psnr_db"] == pytest.approx(48.13, abs=0.01)
    assert figures["mean_colour_error"] == 1


def test_a_set_that_is_too_large_is_refused(tmp_path):
    (tmp_path / "big.safetensors").write_bytes(bytes(17 * 1024 * 1024))
    with pytest.raises(ValueError, match="make the networks smaller"):
        check_sizes(tmp_path)


def test_an_unknown_profile_is_named():
    with pytest.raises(ValueError, match=r"config\.toml has cpu, finetune, gpu"):
        recipe_config.load("tpu")


def test_a_start_that_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no exported checkpoint: it has no model_index\.json"):
        recipe_config.load("finetune", start=tmp_path)


def test_a_tiny_checkpoint_is_the_same_for_the_same_seed(tmp_path):
    files = [make_tiny(tmp_path / name, 3) / "unet" for name in ("a", "b")]
    a, b = ((folder / "diffusion_pytorch_model.safetensors").read_bytes() for folder in files)
    assert a == b
