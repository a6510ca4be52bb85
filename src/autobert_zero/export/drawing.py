"""A backbone as a picture."""

from pathlib import Path
from textwrap import wrap

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from autobert_zero.space import Backbone, Convolution

_WIDTH, _GAP, _LINE, _PADDING = 8.0, 0.22, 0.21, 0.2  # inches
_CHARACTERS = 68
_COLOURS = {"convolution": "#dbe9f6", "attention": "#fde3cf", "embedding": "#eeeeee"}


def draw_backbone(backbone: Backbone, path: Path) -> None:
    """Draws the layers from the embeddings at the bottom to the output at the top.

    Args:
        backbone: What to draw.
        path: The file; its suffix names the format (png, svg, pdf).
    """
    boxes = [("embedding", "token + position + segment embeddings", "")]
    for number, layer in enumerate(backbone.layers, start=1):
        kind = "convolution" if isinstance(layer, Convolution) else "attention"
        boxes.append((kind, f"{number}  {kind}", str(layer)))
    texts = [[title, *wrap(body, _CHARACTERS, subsequent_indent="  ")] for _, title, body in boxes]
    heights = [len(lines) * _LINE + _PADDING for lines in texts]
    total = sum(heights) + _GAP * len(heights) + 0.3

    figure = Figure((_WIDTH, total))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, _WIDTH)
    axes.set_ylim(0, total)
    bottom = _GAP / 2
    for (kind, _, _), lines, height in zip(boxes, texts, heights, strict=True):
        shape = "round,pad=0,rounding_size=0.08"
        axes.add_patch(
            FancyBboxPatch((0.3, bottom), _WIDTH - 0.6, height, shape, fc=_COLOURS[kind], ec="#555555")
        )
        for index, line in enumerate(lines):
            top = bottom + height - _PADDING / 2 - (index + 0.5) * _LINE
            weight, family = ("bold", "sans-serif") if index == 0 else ("normal", "monospace")
            axes.text(0.45, top, line, fontsize=9, va="center", weight=weight, family=family)
        middle, bottom = bottom + height, bottom + height + _GAP
        axes.annotate(
            "",
            (_WIDTH / 2, bottom),
            (_WIDTH / 2, middle),
            arrowprops={"arrowstyle": "-|>", "color": "#555555"},
        )
    note = "each layer is followed by a feed-forward block; both with residual and layer norm"
    axes.text(_WIDTH / 2, bottom + 0.12, note, fontsize=8, ha="center", va="center", style="italic")
    figure.savefig(path, dpi=150)
