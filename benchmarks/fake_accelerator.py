"""A fake accelerator: tensors that say they are on another device, computed on the CPU and counted.

Code takes the branches of a GPU on them (`is_cpu` is false), gradients and optimisers work, and values are
real. What it counts is what the host does: operations it launches, and moments at which it would wait for the
device. Times and numerics of a real device it cannot tell.
The file is long because its tensors and what they count are one class.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._foreach_utils import _foreach_supported_types, _has_foreach_support
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("meta")
"""What the tensors say: the one device without a CPU's kernels that every build of PyTorch knows."""

_CPU = torch.device("cpu")
_NO_KERNEL = ("empty", "empty_like", "empty_strided", "new_empty", "_unsafe_view", "lift_fresh", "set_")
"""Operations beside views that run nothing on a device."""

_WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim")
"""Operations whose result the host needs before it goes on; `index` with booleans is one more."""

_HALF = {"linear", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "baddbmm", "einsum", "conv1d"}
_SINGLE = {
    *(
        "layer_norm",
        "softmax",
        "log_softmax",
        "softplus",
        "cumsum",
        "sum",
        "prod",
        "norm",
        "exp",
        "log",
        "pow",
    ),
    *("rsqrt", "cosine_similarity", "nll_loss", "mse_loss", "cdist", "logsumexp"),
}
"""What autocast computes in half and in single precision on CUDA, as far as models use it."""


class _FakeTensor(Tensor):
    """A tensor on the fake device, whose values are in `held`."""

    held: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "_FakeTensor":
        made: _FakeTensor = Tensor._make_wrapper_subclass(  # noqa: SLF001 - as PyTorch's docs show
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )
        made.held = inner
        return made

    def tolist(self) -> Any:
        """Copies the values to the host, which waits; PyTorch refuses `tolist` of subclasses."""
        return self.to("cpu").tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise RuntimeError(f"{func} outside of `fake_device`")


@cache
def _known(func: Any) -> tuple[str, bool, bool]:
    """The name of an operation, whether it is a view, and whether a result shares memory with an argument."""
    infos = [returned.alias_info for returned in func._schema.returns]  # noqa: SLF001 - only the schema tells views
    view = bool(infos) and all(info is not None and not info.is_write for info in infos)
    return func.overloadpacket.__name__, view, any(info is not None for info in infos)


class Counts(TorchDispatchMode):
    """Runs operations of the fake device on the CPU, and counts them.

    Attributes:
        launches: Number of operations that would launch a kernel, by name; views and allocations do not.
        waits: Number of operations for which the host would wait, by name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launches: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self._pinned: dict[int, Tensor] = {}  # keeps the memory, which would be reused if it was freed

    def clear(self) -> None:
        """Resets the counts."""
        self.launches.clear()
        self.waits.clear()

    def is_pinned(self, tensor: Tensor) -> bool:
        """Whether a tensor was made by `pin`."""
        return tensor.untyped_storage().data_ptr() in self._pinned

    def pin(self, tensor: Tensor) -> Tensor:
        """Copies a tensor to pinned memory, which the device reads while the host runs ahead."""
        copy = tensor.clone()
        self._pinned[copy.untyped_storage().data_ptr()] = copy
        return copy

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        name, view, aliases = _known(func)
        on_device = [value for value in tree_leaves((args, options)) if isinstance(value, _FakeTensor)]
        device = options.get("device")
        to_device = bool(on_device) if device is None else torch.device(device).type == DEVICE.type
        if device is not None:
            options["device"] = _CPU
        if on_device or to_device:
            self._count(name, view, args, options, to_device, bool(on_device))
        plain_args, plain = tree_map_only(_FakeTensor, lambda value: value.held, (args, options))
        plain.pop("pin_memory", None)
        out = func(*plain_args, **plain)
        if not to_device:
            return out
        out = tree_map_only(
            Tensor, lambda value: value if isinstance(value, _FakeTensor) else _FakeTensor(value), out
        )
        return return_and_correct_aliasing(func, args, dict(kwargs or {}), out) if aliases else out

    def _count(
        self,
        name: str,
        view: bool,
        args: Sequence[Any],
        options: Mapping[str, Any],
        to_device: bool,
        on_device: bool,
    ) -> None:
        if view or name in _NO_KERNEL:
            return
        if name in ("_to_copy", "copy_"):
            source = args[-1] if name == "copy_" else args[0]
            crosses = (
                not on_device or not to_device or (name == "copy_" and not isinstance(source, _FakeTensor))
            )
            if crosses and not self._runs_ahead(source, args, options):
                self.waits[name] += 1
        elif name in _WAITING or (name == "index" and _booleans(args[1])):
            self.waits[name] += 1
        self.launches[name] += 1

    def _runs_ahead(self, source: Tensor, args: Sequence[Any], options: Mapping[str, Any]) -> bool:
        """Whether the host runs ahead during a copy between the host and the device."""
        if isinstance(source, _FakeTensor):
            return False  # the host needs the values
        small = source.numel() == 0
        asynchronous = bool(options.get("non_blocking")) or (len(args) > 2 and bool(args[2]))
        return small or (asynchronous and self.is_pinned(source))


class _Autocast(TorchFunctionMode):
    """Casts the arguments of functions as CUDA's autocast does, and keeps the casts of weights."""

    def __init__(self, dtype: torch.dtype, running: list[torch.dtype]) -> None:
        super().__init__()
        self._dtype = dtype
        self._running = running
        self._kept: dict[int, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _HALF:
            args, kwargs = tree_map_only(Tensor, self._halved, (args, kwargs or {}))
        elif name in _SINGLE:
            args, kwargs = tree_map_only(Tensor, _single, (args, kwargs or {}))
        return func(*args, **(kwargs or {}))

    def __enter__(self) -> Any:
        self._running.append(self._dtype)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        self._running.pop()
        super().__exit__(*error)

    def _halved(self, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or tensor.dtype == self._dtype:
            return tensor
        if not (tensor.is_leaf and tensor.requires_grad):
            return tensor.to(self._dtype)
        if id(tensor) not in self._kept:
            self._kept[id(tensor)] = tensor.to(self._dtype)
        return self._kept[id(tensor)]


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _booleans(indices: Sequence[Tensor | None]) -> bool:
    return any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in indices)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Attention as one fused operation per direction, as on a GPU, in the format that autocast chooses."""
    dtype = min((query.dtype, key.dtype, value.dtype), key=lambda each: each.itemsize)
    query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.where(attn_mask, 0.0, -torch.inf)
        attn_mask = attn_mask.to(dtype)
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001 - one operation
    result: Tensor = fused(query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale)[0]
    return result


@contextmanager
def fake_device() -> Iterator[Counts]:
    """Lets `DEVICE` compute within the block; yields the counts."""
    counts = Counts()

    def autocast(device_type: str, dtype: torch.dtype | None = None, **options: Any) -> Any:
        if device_type != DEVICE.type:
            return _real_autocast(device_type, dtype, **options)
        return (
            _Autocast(dtype, running) if dtype is not None and options.get("enabled", True) else nullcontext()
        )

    running: list[torch.dtype] = []
    enabled = torch.is_autocast_enabled

    def is_enabled(kind: str) -> bool:
        return bool(running) if kind == DEVICE.type else enabled(kind)

    def kinds() -> list[str]:
        return ["cpu", DEVICE.type]

    with ExitStack() as stack:
        for target, name, value in (
            (torch, "autocast", autocast),
            (torch.nn.functional, "scaled_dot_product_attention", _attention),
            (torch.accelerator, "is_available", lambda: True),
            (torch.amp, "autocast", autocast),
            (torch.amp, "is_autocast_available", lambda kind: True),
            (torch, "is_autocast_enabled", is_enabled),
            (torch, "get_autocast_dtype", lambda kind: running[-1]),
            (torch.Tensor, "is_pinned", lambda tensor: counts.is_pinned(tensor)),
            (torch.Tensor, "pin_memory", lambda tensor: counts.pin(tensor)),
            (sys.modules[torch.optim.Optimizer.__module__], "_get_fused_kernels_supported_devices", kinds),
            (sys.modules[_has_foreach_support.__module__], "_get_foreach_kernels_supported_devices", kinds),
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        supported: list[Any] = _foreach_supported_types
        supported.append(_FakeTensor)
        stack.callback(supported.remove, _FakeTensor)
        stack.enter_context(counts)
        yield counts


_real_autocast = torch.autocast
