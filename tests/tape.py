"""A CPU's stand-in for CUDA graphs: it records operations with their memory, and replays just these."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Tape(TorchDispatchMode):
    """Notes every operation; memory from before that it writes to is put back by `rewind`."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self._own: set[int] = set()
        self._kept: list[Tensor] = []  # so that no address is used twice
        self._before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        arguments = func._schema.arguments
        given = [
            (info, args[i] if i < len(args) else kwargs.get(info.name)) for i, info in enumerate(arguments)
        ]
        for info, value in given:
            if info.alias_info is not None and info.alias_info.is_write:
                self._keep([each for each in tree_leaves(value) if isinstance(each, Tensor)])
        result = func(*args, **kwargs)
        made = [each for each in tree_leaves(result) if isinstance(each, Tensor)]
        if any(each.alias_info is not None for each in func._schema.returns):
            made = []  # views, and what is changed in place
        self._own |= {each.untyped_storage().data_ptr() for each in made}
        self._kept += made
        self.operations.append((func, args, kwargs, made))
        return result

    def _keep(self, tensors: list[Tensor]) -> None:
        for each in tensors:
            address = each.untyped_storage().data_ptr()
            if address not in self._own and address not in self._before:
                whole = torch.empty(0, dtype=each.dtype).set_(each.untyped_storage())
                self._before[address] = whole, whole.clone()

    def rewind(self) -> None:
        for whole, before in self._before.values():
            whole.copy_(before)

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, made in self.operations:
            again = [each for each in tree_leaves(func(*args, **kwargs)) if isinstance(each, Tensor)]
            for target, value in zip(made, again, strict=False):
                target.copy_(value)


class TapeGraphs:
    """Stands for `CudaGraphs`. As there, Python runs once, when a step is recorded, and computes nothing.

    Attributes:
        aside_count: Steps that ran as they are.
        recordings: What was recorded.
        replays: Number of replays.
        broken: Whether recordings fail.
    """

    def __init__(self, broken: bool = False) -> None:
        self.aside_count = 0
        self.recordings: list[_Tape] = []
        self.replays = 0
        self.broken = broken

    def aside(self, run: Callable[[], Tensor]) -> Tensor:
        self.aside_count += 1
        return run()

    def record(self, run: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
        tape = _Tape()
        random = torch.get_rng_state()
        with tape:
            result = run()
        tape.rewind()
        torch.set_rng_state(random)
        if self.broken:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.recordings.append(tape)

        def replay() -> None:
            self.replays += 1
            tape.replay()

        return result, replay
