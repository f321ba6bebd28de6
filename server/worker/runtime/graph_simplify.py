"""Take out of a recorded pass what it does for nothing.

A part of a picture is painted by many small operations, so that each one that goes is time won. What
comes out is the same, bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch

_ARITHMETIC = {"aten::mul": "aten::mul", "aten::floor_divide": "aten::floordiv"}
_TO_THE_END = 2**63 - 1


def tidy(graph: Any) -> None:
    """Change ``graph``, that of a frozen recording that has not run yet."""
    _sizes_as_numbers(graph)
    for node in list(graph.nodes()):
        if _does_nothing(node):
            node.output().replaceAllUsesWith(node.inputsAt(0))
    torch._C._jit_pass_dce(graph)


def _does_nothing(node: Any) -> bool:
    """Whether it divides by 1 or takes all of a dimension."""
    if node.kind() == "aten::div":
        return _constant(node.inputsAt(1)) == 1
    if node.kind() != "aten::slice":
        return False
    return [_constant(one) for one in list(node.inputs())[2:]] == [0, _TO_THE_END, 1]


def _sizes_as_numbers(graph: Any) -> None:
    """Compute with the sizes of tensors as numbers: a trace makes a tensor of each."""
    numbers: dict[str, Any] = {}

    def number(value: Any) -> Any:
        constant = _constant(value)
        if isinstance(constant, int):
            return graph.insertConstant(constant)
        return numbers.get(value.debugName())

    for node in list(graph.nodes()):
        graph.setInsertPoint(node)
        if node.kind() == "prim::NumToTensor":
            numbers[node.output().debugName()] = node.inputsAt(0)
        elif node.kind() in _ARITHMETIC and node.inputsAt(0).debugName() in numbers:
            both = [number(one) for one in list(node.inputs())[:2]]
            if None not in both:
                new = graph.insertNode(graph.create(_ARITHMETIC[node.kind()], both))
                new.output().setType(torch._C.IntType.get())
                numbers[node.output().debugName()] = new.output()
        elif node.kind() == "aten::Int" and (known := number(node.inputsAt(0))) is not None:
            node.output().replaceAllUsesWith(known)


def _constant(value: Any) -> Any:
    """The number that ``value`` always is; None for what is no such."""
    if value.node().kind() != "prim::Constant":
        return None
    constant = value.toIValue()
    if isinstance(constant, torch.Tensor):
        constant = constant.item() if constant.numel() == 1 else None
    return constant if isinstance(constant, int | float) else None
