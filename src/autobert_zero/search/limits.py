"""Hard limits of a search: what is over one is never trained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autobert_zero import cost
from autobert_zero.config import LimitsConfig
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import UserError
from autobert_zero.space import (
    KERNELS,
    Attention,
    Backbone,
    CanonicalBackbone,
    Convolution,
    Layer,
    Space,
)
from autobert_zero.space.formula import parse_formula

CHEAP_ATTENTIONS = ("Q + K", "cosine(Q, K) @ Q", "Q @ K.T @ Q", "Q @ (Q.T @ K)")
"""Among the cheapest graphs: two inputs, which is the fewest, and as few operations as mix tokens or not."""


@dataclass(frozen=True)
class Costs:
    """What the costs of a backbone are functions of.

    Attributes:
        sizes: Of the model.
        tokens: Length of the sequence that FLOPs are counted over.
        latency: Milliseconds of a layer's forward pass, measured; None where no run needs it.
    """

    sizes: EncoderConfig
    tokens: int
    latency: Callable[[Layer], float] | None = None

    def functions(self) -> dict[str, Callable[[Backbone], float]]:
        """Each cost by the name that it has in the metrics of a trial, the cheapest to compute first."""
        functions: dict[str, Callable[[Backbone], float]] = {
            "parameters": lambda backbone: cost.parameters(backbone, self.sizes),
            "flops": lambda backbone: cost.flops(backbone, self.sizes, self.tokens),
        }
        latency = self.latency
        if latency is not None:
            functions["latency_ms"] = lambda backbone: sum(map(latency, backbone.layers))
        return functions

    def of(self, backbone: Backbone) -> dict[str, float]:
        """All costs: parameters of the masked language model; FLOPs and latency of its layers."""
        return {name: function(backbone) for name, function in self.functions().items()}


@dataclass(frozen=True)
class Limits:
    """The limits of a run.

    Attributes:
        config: The most of each cost.
        costs: How to find them.
    """

    config: LimitsConfig
    costs: Costs

    def refusal(self, backbone: CanonicalBackbone) -> str | None:
        """Which limit a backbone is over; None: it is within all."""
        for name, most in self._most().items():
            value = self.costs.functions()[name](backbone)
            if value > most:
                return f"{_show(name, value)}, more than {_LIMITS[name]} = {most:,}"
        return None

    def check(self, space: Space, first: Sequence[Backbone] = ()) -> None:
        """Checks that the limits leave something to search.

        Costs add up over the layers, so the least of a backbone is that of the cheapest layer so many times.

        Raises:
            UserError: No backbone of the space is within a limit, or within all of them, or one of the
                user's is over one.
        """
        stacks = [Backbone((layer,) * space.layers).canonical() for layer in _cheap_layers(space)]
        for name, most in self._most().items():
            least = min(map(self.costs.functions()[name], stacks))
            if least > most:
                raise UserError(
                    f"{_LIMITS[name]} = {most:,} cannot be met: the least of {space.layers} layers of this "
                    f"width is {_show(name, least)}; raise it, or change model.layers or model.width"
                )
        if all(map(self.refusal, stacks)):
            names = " and ".join(_LIMITS[name] for name in self._most())
            raise UserError(f"{names} cannot be met together: no stack of one cheap layer does; raise one")
        for backbone in first:
            reason = self.refusal(backbone.canonical())
            if reason:
                raise UserError(f"a seed backbone has {reason}; leave it out, or raise the limit")

    def _most(self) -> Mapping[str, float]:
        """The limits that are set, by cost."""
        settings = {name: getattr(self.config, key.removeprefix("limits.")) for name, key in _LIMITS.items()}
        return {name: most for name, most in settings.items() if most is not None}


_LIMITS = {
    "parameters": "limits.max_params",
    "flops": "limits.max_flops",
    "latency_ms": "limits.max_latency_ms",
}
"""The setting that bounds each cost."""


def _show(name: str, value: float) -> str:
    return f"{value:.3g} ms of latency" if name == "latency_ms" else f"{value:,.0f} {name}"


def _cheap_layers(space: Space) -> list[Layer]:
    """Layers of which one is the cheapest of the space, by any cost."""
    attentions = [Attention(parse_formula(formula)).canonical() for formula in CHEAP_ATTENTIONS]
    layers: list[Layer] = []
    if space.attention_share > 0:
        layers += [layer for layer in attentions if layer.graph.root.size <= space.max_ops]
    if space.attention_share < 1:
        layers += map(Convolution, KERNELS)
    return layers
