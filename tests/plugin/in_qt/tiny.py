"""The model that the docker's tests offer."""

from __future__ import annotations

from velatura.protocol import messages as m

MODEL = m.ModelInfo(
    name="tiny",
    family="sd15",
    native=64,
    multiple=8,
    largest=128,
    actions=m.ACTIONS,
    controls=("line", "depth"),
    samplers=("Euler a", "LCM"),
    sampler="LCM",
    steps=7,
    guidance=3.5,
)
