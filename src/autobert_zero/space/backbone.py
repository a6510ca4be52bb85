"""Backbones: a tuple of layers, each an attention with its own graph or a convolution with its own kernel."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NewType

from autobert_zero.space.canonical import canonical, canonical_code
from autobert_zero.space.errors import FormulaError, SpaceError
from autobert_zero.space.formula import format_node, parse_formula
from autobert_zero.space.graph import Graph

KERNEL_SIZES: tuple[int, ...] = (3, 5, 7, 9, 15, 31, 65)
"""Kernel sizes of the convolution layer (paper, "Search space", inter-layer)."""

LAYER_KINDS: tuple[str, ...] = ("attention", *(f"conv {kernel}" for kernel in KERNEL_SIZES))
"""The kinds of layers: one for all attentions, and one for each kernel size."""

_KERNEL = re.compile("-?[0-9]{1,9}")

_REDUCING = ("matmul", "cosine", "euclidean", "softmax")
"""Operations that reduce over the columns of their first operand."""


@dataclass(frozen=True)
class Attention:
    """A layer that mixes tokens with an attention graph."""

    graph: Graph

    def __str__(self) -> str:
        return format_node(self.graph.root)

    @property
    def kind(self) -> str:
        """One of `LAYER_KINDS`."""
        return LAYER_KINDS[0]

    @property
    def code(self) -> str:
        """Identifies the layer exactly, in prefix notation."""
        return self.graph.code

    @property
    def operations(self) -> frozenset[str]:
        """Operations that OP-NAS keeps statistics of: the primitives in use."""
        return self.graph.operations

    @property
    def is_global(self) -> bool:
        """Whether an operation reduces over the tokens, so that a token may depend on all of them.

        Other attentions treat each token separately, or with its neighbours.
        """
        reduced = (node.args[0].type[1] for node in self.graph.nodes if node.op in _REDUCING)
        return any(axis == "n" for axis in reduced)

    @cached_property
    def canonical_code(self) -> str:
        """The code of the canonical form; computed once, also for all backbones that share the layer."""
        return canonical_code(self.graph)

    def canonical(self) -> Attention:
        """The layer with its graph in canonical form."""
        return self if self.canonical_code == self.code else Attention(canonical(self.graph))


@dataclass(frozen=True)
class Convolution:
    """A layer that mixes tokens with the lightweight convolution of Wu et al. 2019.

    Raises:
        SpaceError: The kernel is not one of `KERNEL_SIZES`.
    """

    kernel: int

    def __post_init__(self) -> None:
        if type(self.kernel) is not int or self.kernel not in KERNEL_SIZES:
            sizes = ", ".join(map(str, KERNEL_SIZES))
            raise SpaceError(f"a convolution has a kernel of one of {sizes}, not {self.kernel}")

    def __str__(self) -> str:
        return f"conv {self.kernel}"

    @property
    def kind(self) -> str:
        """One of `LAYER_KINDS`."""
        return str(self)

    @property
    def code(self) -> str:
        """Identifies the layer exactly."""
        return f"conv{self.kernel}"

    @property
    def operations(self) -> frozenset[str]:
        """Operations that OP-NAS keeps statistics of: the kernel size."""
        return frozenset({str(self)})

    @property
    def canonical_code(self) -> str:
        """The code of the canonical form."""
        return self.code

    def canonical(self) -> Convolution:
        """The layer itself: a convolution has one form only."""
        return self


Layer = Attention | Convolution


@lru_cache(maxsize=1 << 16)  # a history repeats layers: a child has most of its parent's
def parse_layer(text: str) -> Layer:
    """Reads one layer: `conv 9` or a formula.

    Raises:
        SpaceError: It is neither.
    """
    words = text.split()
    if words and words[0] == "conv":
        if len(words) != 2 or not _KERNEL.fullmatch(words[1]):
            raise SpaceError(f"write a convolution as `conv 9`, not {text.strip()[:60]!r}")
        return Convolution(int(words[1]))
    return Attention(parse_formula(text.strip()))


@dataclass(frozen=True)
class Backbone:
    """The token-mixing layers of an encoder, first to last.

    Raises:
        SpaceError: There is no layer.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise SpaceError("a backbone has at least one layer; write one per line, `conv 9` or a formula")

    @property
    def operations(self) -> frozenset[str]:
        """The operations of all layers."""
        return frozenset[str]().union(*(layer.operations for layer in self.layers))

    @property
    def global_attentions(self) -> int:
        """Number of attention layers in which a token may depend on all of them."""
        return sum(isinstance(layer, Attention) and layer.is_global for layer in self.layers)

    @classmethod
    def parse(cls, text: str) -> Backbone:
        """Reads one layer per line; empty lines and comments after `#` are skipped.

        Raises:
            SpaceError: A line is not a layer; the message names it.
        """
        layers = []
        for number, line in enumerate(text.splitlines(), start=1):
            content = line.split("#")[0].rstrip()
            if "|" in content:  # as tables print backbones
                raise SpaceError(f"line {number}: write one layer per line, without `|`")
            if content.strip():
                try:
                    layers.append(parse_layer(content))
                except FormulaError as error:
                    raise FormulaError(f"line {number}: {error.problem}", error.text, error.column) from None
                except SpaceError as error:
                    raise SpaceError(f"line {number}: {error}") from None
        return cls(tuple(layers))

    @classmethod
    def from_list(cls, layers: Sequence[str]) -> Backbone:
        """Reads the JSON form: a list with one string per layer.

        Raises:
            SpaceError: It is not a list of layers.
        """
        if isinstance(layers, str) or not all(isinstance(layer, str) for layer in layers):
            raise SpaceError("a backbone in JSON is a list with one string per layer")
        backbone = cls.parse("\n".join(layers))
        if len(backbone.layers) != len(layers):
            raise SpaceError("a backbone in JSON is a list with one string per layer, not several or none")
        return backbone

    @classmethod
    def from_json(cls, text: str) -> Backbone:
        """Reads what `to_json` wrote.

        Raises:
            SpaceError: It is not a JSON list of layers.
        """
        try:
            layers = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpaceError(f"not JSON: {error}") from None
        if not isinstance(layers, list):
            raise SpaceError("a backbone in JSON is a list with one string per layer")
        return cls.from_list(layers)

    def to_list(self) -> list[str]:
        """One string per layer: what configs and results store."""
        return [str(layer) for layer in self.layers]

    def to_json(self) -> str:
        """A JSON list with one string per layer."""
        return json.dumps(self.to_list(), indent=2)

    def __str__(self) -> str:
        return "\n".join(self.to_list())

    def canonical(self) -> CanonicalBackbone:
        """The backbone with every layer in canonical form; itself if it is already."""
        if all(layer.canonical_code == layer.code for layer in self.layers):
            return CanonicalBackbone(self)
        return CanonicalBackbone(Backbone(tuple(layer.canonical() for layer in self.layers)))

    def key(self) -> str:
        """Sixteen hex digits, equal for algebraically equal backbones (see `space.canonical`)."""
        return self._key

    @cached_property
    def _key(self) -> str:
        return hash_codes([layer.canonical_code for layer in self.layers])


CanonicalBackbone = NewType("CanonicalBackbone", Backbone)
"""A backbone in canonical form, as `Backbone.canonical` makes it: what is proposed, limited and ranked."""


def hash_codes(codes: Sequence[str]) -> str:
    """Hashes the codes of layers, the same in every process."""
    return hashlib.blake2b(" ".join(codes).encode(), digest_size=8).hexdigest()
