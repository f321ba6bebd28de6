"""The painter's own models in a real worker process: too large, new on disk, broken."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from checkpoints import put_unet
from harness import ServerProcess, generate, wait_for
from velatura.models.starter.recipe.tiny import make_tiny
from velatura.protocol import messages as m
from velatura.protocol.errors import RemoteError
from velatura.protocol.sentences import Sentence
from velatura.server.settings import WORKER

# More than a tiny model of fp32, less than the large one.
LIMIT = 8_000_000


def lists(name: str):
    return lambda event: (
        isinstance(event, m.Catalogue) and name in [model.name for model in event.models]
    )


def refused(client, **fields) -> RemoteError:
    request = generate(model=fields.pop("model"), side=64, sampler="Euler a", **fields)
    client.send(request)
    with pytest.raises(RemoteError) as caught:
        client.until_final(request.job)
    return caught.value


def paints(client, model: str) -> bool:
    request = generate(model=model, side=64, sampler="Euler a", steps=1)
    client.send(request)
    return len(client.until_final(request.job)) == 1


def test_what_is_too_large_or_broken_is_a_sentence_and_the_next_job_works(tmp_path: Path):
    models = tmp_path / "models"
    for name in ("tiny", "large", "broken"):
        make_tiny(models / name)
    put_unet(models / "large", block_out_channels=(128, 256, 256))
    weights = next((models / "broken" / "vae").glob("*.safetensors"))
    os.truncate(weights, weights.stat().st_size - 1000)
    home = tmp_path / "velatura"
    server = ServerProcess(home, worker=WORKER, models=[str(models)], memory=LIMIT).start()
    try:
        with server.client() as client:
            wait_for(client, lists("large"), 120)
            assert paints(client, "tiny")
            error = refused(client, model="large")
            assert (error.code, error.field) == ("out_of_memory", "model")
            assert "Model large needs" in error.message
            assert isinstance(error.message, Sentence), "it can be translated"
            wait_for(client, lambda e: isinstance(e, m.Status) and e.loaded == (), 30)
            assert paints(client, "tiny"), "the memory is free again"
            broken = refused(client, model="broken").message
            assert "ends early" in broken
            assert isinstance(broken, Sentence)
            assert paints(client, "tiny")
            # A model that is put beside the others while the server runs.
            shutil.copytree(models / "tiny", tmp_path / "later")
            (tmp_path / "later").rename(models / "later")
            wait_for(client, lists("later"), 60)
            assert paints(client, "later")
    finally:
        server.stop()


def test_a_family_of_another_package_paints_in_a_real_worker(tmp_path: Path, monkeypatch):
    toy = Path(__file__).parents[1] / "toy"
    monkeypatch.setenv("PYTHONPATH", str(toy))
    monkeypatch.syspath_prepend(str(toy))
    from velatura_toy import make_toy

    make_toy(tmp_path / "models" / "toy")
    home = tmp_path / "velatura"
    server = ServerProcess(home, worker=WORKER, models=[str(tmp_path / "models")]).start()
    try:
        with server.client() as client:
            wait_for(client, lists("toy"), 120)
            request = generate(model="toy", side=64, sampler="Euler", steps=2)
            client.send(request)
            assert len(client.until_final(request.job)) == 1
            client.send(generate(model="toy", side=64, sampler="DDIM", steps=2))
            assert refused(client, model="toy").field == "sampler"
    finally:
        server.stop()
