"""What a recording does with laid out weights, and without what did nothing, is what it recorded."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from unet_inputs import HEIGHT, PARTS, WHOLE, WIDTH, given, memory_of, part_of
from velatura.models.families.unet.call import plain
from velatura.server.worker.runtime import packed_weights
from velatura.server.worker.runtime.graph_simplify import tidy
from velatura.server.worker.runtime.unet.incremental import Incremental
from velatura.server.worker.runtime.unet.recorded import Recorded

LAID_OUT = "mkldnn::_linear_pointwise"


@pytest.mark.parametrize("pictures", [1, 2])
@torch.no_grad()
def test_parts_are_painted_by_weights_that_are_laid_out_once(unet, monkeypatch, pictures):
    monkeypatch.setattr(packed_weights, "_WORTH_IT", 1)
    asked = given(unet, HEIGHT, WIDTH, pictures)
    memory, other = (memory_of(unet, asked) for _ in range(2))
    recorded, run = Recorded(Incremental(unet)), plain(Incremental(unet))
    for rect in (WHOLE, *PARTS):
        expected = run(part_of(asked, rect, other))
        assert torch.allclose(recorded(part_of(asked, rect, memory)), expected, atol=1e-4)
    whole, part = (
        [node.kind() for node in one.graph.nodes()] for one in recorded._recordings.values()
    )
    assert LAID_OUT not in whole
    layers = [m for m in unet.modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)]
    assert part.count(LAID_OUT) > len(layers) / 3
    assert "mkldnn::_reorder_linear_weight" not in part


@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated:FutureWarning")
def test_what_does_nothing_goes_and_the_rest_stays():
    def run(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        count, channels, height, width = x.shape
        rows = x.view(count, channels // 2 * 2, height * width) / 1.0
        return functional.relu(rows[:, :][:, 1:] / 2) + y[:, :, None][0]

    def kinds(graph: torch._C.Graph) -> list[str]:
        return [node.kind() for node in graph.nodes()]

    made = torch.jit.trace(run, (torch.zeros(1, 4, 5, 5), torch.zeros(1, 3)), check_trace=False)
    before = kinds(made.graph)
    tidy(made.graph)
    after = kinds(made.graph)
    counts = [
        (one.count("prim::NumToTensor") > 0, one.count("aten::div")) for one in (before, after)
    ]
    assert counts == [(True, 2), (False, 1)]
    assert before.count("aten::slice") > after.count("aten::slice") == 1
    for size in ((1, 4, 5, 5), (1, 4, 7, 3), (1, 4, 1, 2)):
        x, y = torch.randn(size), torch.randn(1, 3)
        assert torch.equal(made(x, y), run(x, y))
