"""Hook into modules' forward calls for a while: the only place that adds hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

# (module, its positional inputs, its output) -> the output in its place.
Hook = Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]


@contextmanager
def hooked(hooks: Iterable[tuple[nn.Module, Hook]]) -> Iterator[None]:
    """Change modules' outputs by ``hooks`` while the context lasts; they are gone after it."""
    with ExitStack() as undo:
        for module, hook in hooks:
            undo.callback(module.register_forward_hook(hook).remove)
        yield
