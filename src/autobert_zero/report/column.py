"""Draws the column of a backbone's layers, with equal neighbours as one block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from string import ascii_uppercase

from autobert_zero.report.scene import BOX_HEIGHT, MARGIN, TEXT_SIZE, Box, Curve, ShapeGroup, Text, text_width
from autobert_zero.space import Attention, Backbone, Layer

_COLUMN = 136.0  # minimum width of the column of layers


@dataclass(frozen=True)
class LayerRun:
    """Equal consecutive layers."""

    first: int
    count: int
    layer: Layer

    @property
    def numbers(self) -> str:
        """Number of the layer, or the first and the last of several."""
        return str(self.first) if self.count == 1 else f"{self.first}–{self.first + self.count - 1}"


def equal_runs(backbone: Backbone) -> list[LayerRun]:
    """The layers of a backbone, with equal neighbours together."""
    runs, first = [], 1
    for layer, members in groupby(backbone.layers):
        count = len(list(members))
        runs.append(LayerRun(first, count, layer))
        first += count
    return runs


def attention_names(backbone: Backbone) -> dict[Attention, str]:
    """Names the distinct attentions in order: A to Z, then A2 to Z2, and so on."""
    distinct = list(dict.fromkeys(layer for layer in backbone.layers if isinstance(layer, Attention)))
    rounds = range(1, len(distinct) // len(ascii_uppercase) + 2)
    letters = [f"{letter}{'' if number == 1 else number}" for number in rounds for letter in ascii_uppercase]
    return dict(zip(distinct, letters, strict=False))


def layer_numbers(backbone: Backbone, layer: Layer) -> str:
    """The numbers of the layers that equal a layer, as `layers 2, 4-6`."""
    spans = [run.numbers for run in equal_runs(backbone) if run.layer == layer]
    plural = len(spans) > 1 or "–" in spans[0]
    return f"layer{'s' if plural else ''} {', '.join(spans)}"


def draw_column(
    runs: Sequence[LayerRun], names: dict[Attention, str]
) -> tuple[list[ShapeGroup], float, float]:
    """The blocks from the embeddings at the top to the output at the bottom, and where they end: x and y."""
    folded = max(text_width(_times(run), TEXT_SIZE) for run in runs)
    width, height, gap = _COLUMN + (folded + 8 if folded else 0), BOX_HEIGHT + 4, 16.0
    x, y = MARGIN, MARGIN
    parts = [_end("embeddings", x, y, width, height)]
    for run in runs:
        y += height + gap
        parts += [_down(x + width / 2, y - gap, y), _block(run, names, x, y, width, height)]
    y += height + gap
    parts += [_down(x + width / 2, y - gap, y), _end("output", x, y, width, height)]
    return parts, x + width, y + height


def _block(
    run: LayerRun, names: dict[Attention, str], x: float, y: float, width: float, height: float
) -> ShapeGroup:
    middle = y + height / 2
    attention = isinstance(run.layer, Attention)
    label = f"attention {names[run.layer]}" if isinstance(run.layer, Attention) else str(run.layer)
    shapes = (
        Box(x, y, width, height, "attention" if attention else "convolution", "line"),
        Text(x + 8, middle, run.numbers, TEXT_SIZE, "faint"),
        Text(x + 46, middle, label, TEXT_SIZE, bold=attention),
        Text(x + width - 8, middle, _times(run), TEXT_SIZE, anchor="end"),
    )
    return ShapeGroup(shapes if run.count > 1 else shapes[:-1], str(run.layer), {"layers": run.numbers})


def _times(run: LayerRun) -> str:
    return f"× {run.count}" if run.count > 1 else ""


def _end(name: str, x: float, y: float, width: float, height: float) -> ShapeGroup:
    box = Box(x, y, width, height, "panel", "rule", height / 2)
    return ShapeGroup((box, Text(x + width / 2, y + height / 2, name, TEXT_SIZE, "faint", "middle")))


def _down(x: float, top: float, bottom: float) -> ShapeGroup:
    return ShapeGroup((Curve(((x, top), (x, top), (x, bottom), (x, bottom)), "line"),))
