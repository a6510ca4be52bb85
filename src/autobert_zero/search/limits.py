"""Hard limits of a search: a backbone over a limit is never trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from autobert_zero import cost
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import UserError, counted
from autobert_zero.search.config import LimitsConfig
from autobert_zero.space import (
    KERNEL_SIZES,
    Attention,
    Backbone,
    CanonicalBackbone,
    Convolution,
    Layer,
    Space,
)
from autobert_zero.space.formula import parse_formula

CHEAP_ATTENTIONS = ("Q + K", "cosine(Q, K) @ Q", "Q @ K.T @ Q", "Q @ (Q.T @ K)")
"""The cheapest graphs: the minimum of two inputs, and as few operations as possible, mixing tokens or not."""

ROUNDING = 1e-9
"""Relative error of sums of latencies, which depend on the order of the layers."""


@dataclass(frozen=True)
class Costs:
    """Computes the costs of backbones.

    Attributes:
        sizes: Sizes of the model.
        tokens: Length of the sequence that FLOPs are counted over.
        latency: Measures the milliseconds of the forward pass of a layer in canonical form; None if the run
            does not need it.
    """

    sizes: EncoderConfig
    tokens: int
    latency: Callable[[Layer], float] | None = None

    def functions(self) -> dict[str, Callable[[Backbone], float]]:
        """Each cost by its name in the metrics of a trial, the cheapest to compute first."""
        functions: dict[str, Callable[[Backbone], float]] = {
            "parameters": lambda backbone: cost.parameters(backbone, self.sizes),
            "flops": lambda backbone: cost.flops(backbone, self.sizes, self.tokens),
        }
        latency = self.latency
        if latency is not None:
            functions["latency_ms"] = lambda backbone: sum(map(latency, backbone.canonical().layers))
        return functions

    def of(self, backbone: Backbone) -> dict[str, float]:
        """All costs: parameters of the masked language model; FLOPs and latency of its layers."""
        return {name: function(backbone) for name, function in self.functions().items()}


@dataclass(frozen=True)
class _Limit:
    """A limit that is set.

    Attributes:
        cost: Name of the cost that it bounds.
        key: Name of the setting.
        maximum: Maximum value of the cost.
        text: The setting with its value.
    """

    cost: str
    key: str
    maximum: float
    text: str


@dataclass(frozen=True)
class Limits:
    """The limits of a run.

    Attributes:
        config: Settings of the limits.
        costs: Computes the costs.
        teacher: Backbone of the model that a search starts from; a speed-up is relative to it.
        teacher_costs: Computes the costs of backbones with that model's sizes; None: those of `costs`.
    """

    config: LimitsConfig
    costs: Costs
    teacher: Backbone | None = None
    teacher_costs: Costs | None = None

    def refusal(self, backbone: CanonicalBackbone) -> str | None:
        """The limit that a backbone exceeds, in words; None: it is within all limits."""
        for limit in self._all:
            value = self.costs.functions()[limit.cost](backbone)
            if value > limit.maximum:
                return f"{_show(limit.cost, value)}, more than {limit.text}"
        return None

    def within(self, space: Space) -> Space:
        """The space without the depths at which no stack of one cheap layer is within the limits.

        Known backbones have the greatest depth: they are left out if that is.
        """
        depths = [depth for depth in space.depths if not all(map(self.refusal, _cheap_stacks(space, depth)))]
        deepest = max(depths, default=space.layers)
        return replace(space, layers=deepest, known=() if deepest < space.layers else space.known)

    def check(self, space: Space, first: Sequence[Backbone] = ()) -> None:
        """Checks that the limits leave something to search.

        Costs add up over the layers, so the minimum is that of the cheapest layer times the least depth.

        Raises:
            UserError: No backbone of the space is within one limit, or within all of them, or a backbone of
                the user exceeds one.
        """
        depth = space.depths[0]
        stacks = _cheap_stacks(space, depth)
        for limit in self._all:
            least = min(map(self.costs.functions()[limit.cost], stacks))
            if least > limit.maximum:
                layers = counted(depth, "layer")
                if limit.key == _SPEEDUP:
                    raise UserError(
                        f"{limit.text} cannot be met: the least of {layers} of this width is "
                        f"{_show(limit.cost, least)}, {self.teacher_ms / least:.3g} times as fast as the "
                        "model that the search starts from; lower it"
                    )
                raise UserError(
                    f"{limit.text} cannot be met: the least of {layers} of this "
                    f"width is {_show(limit.cost, least)}; raise it, or change model.layers or model.width"
                )
        if all(map(self.refusal, stacks)):
            names = " and ".join(limit.key for limit in self._all)
            raise UserError(f"{names} cannot be met together: no stack of one cheap layer does; raise one")
        for backbone in first:
            reason = self.refusal(backbone.canonical())
            if reason:
                raise UserError(f"a seed backbone has {reason}; leave it out, or raise the limit")

    @cached_property
    def max_latency(self) -> float | None:
        """Milliseconds that the layers of a candidate may take; None: any number."""
        limits = [limit.maximum for limit in self._all if limit.cost == "latency_ms"]
        return min(limits, default=None)

    @cached_property
    def teacher_ms(self) -> float:
        """Milliseconds of the layers of the model that the search starts from."""
        assert self.teacher is not None
        return (self.teacher_costs or self.costs).functions()["latency_ms"](self.teacher)

    @cached_property
    def _all(self) -> list[_Limit]:
        """The limits that are set, the cheapest to compute first."""
        values = {name: getattr(self.config, key.removeprefix("limits.")) for name, key in _LIMITS.items()}
        limits = [
            _Limit(name, _LIMITS[name], maximum, f"{_LIMITS[name]} = {maximum:,}")
            for name, maximum in values.items()
            if maximum is not None
        ]
        if (speedup := self.config.min_speedup) is not None:
            maximum = self.teacher_ms / speedup * (1 + ROUNDING)
            text = f"{_SPEEDUP} = {speedup:g} ({maximum:.3g} of {self.teacher_ms:.3g} ms)"
            limits.append(_Limit("latency_ms", _SPEEDUP, maximum, text))
        return limits


_LIMITS = {
    "parameters": "limits.max_params",
    "flops": "limits.max_flops",
    "latency_ms": "limits.max_latency_ms",
}
"""The setting that bounds each cost."""

_SPEEDUP = "limits.min_speedup"
"""The setting that bounds latency relative to the model that a search starts from."""


def _show(name: str, value: float) -> str:
    return f"{value:.3g} ms of latency" if name == "latency_ms" else f"{value:,.0f} {name}"


def _cheap_stacks(space: Space, depth: int) -> list[CanonicalBackbone]:
    return [Backbone((layer,) * depth).canonical() for layer in _cheap_layers(space)]


def _cheap_layers(space: Space) -> list[Layer]:
    """Layers among which is the cheapest of the space, by any cost."""
    attentions = [Attention(parse_formula(formula)).canonical() for formula in CHEAP_ATTENTIONS]
    layers: list[Layer] = []
    if space.attention_share > 0:
        layers += [layer for layer in attentions if layer.graph.root.size <= space.max_ops]
    if space.attention_share < 1:
        layers += map(Convolution, KERNEL_SIZES)
    return layers
