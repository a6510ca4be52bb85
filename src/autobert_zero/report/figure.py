"""Draws a scene as PNG or PDF with matplotlib: in the light colours, with the fonts that it brings."""

from collections.abc import Iterable
from io import BytesIO

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path
from matplotlib.text import Text as Line

from autobert_zero.report.layout import Position
from autobert_zero.report.scene import ARROW, COLOURS, HALO, OUTLINE, Box, Curve, Halo, Scene, Shape, Text

_INCH = 96  # pixels
_POINT = 72 / _INCH  # a pixel in points
_SHARPNESS = 2  # pixels of a PNG per pixel of the scene


def render_figure(scene: Scene, file_format: str) -> bytes:
    """Draws a scene as the content of a file, whose format is `png` or `pdf`; text in a PDF stays text."""
    figure = Figure((scene.width / _INCH, scene.height / _INCH), facecolor=COLOURS["paper"][0])
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, scene.width)
    axes.set_ylim(scene.height, 0)
    for order, artist in enumerate(
        artist for part in scene.parts for shape in part.shapes for artist in _artists(shape)
    ):
        artist.set_zorder(order)
        axes.add_artist(artist)
    # With a date every file would differ.
    metadata = {"Title": scene.title} | ({"CreationDate": None} if file_format == "pdf" else {})
    content = BytesIO()  # on a full disk, what draws a PDF fails with an error that hides the cause
    with rc_context({"pdf.fonttype": 42}):
        figure.savefig(content, format=file_format, dpi=_INCH * _SHARPNESS, metadata=metadata)
    return content.getvalue()


def _artists(shape: Shape) -> Iterable[Artist]:
    match shape:
        case Box():
            edge = COLOURS[shape.edge][0]
            yield _rectangle(
                (shape.x, shape.y, shape.width, shape.height), shape.radius, COLOURS[shape.fill][0], edge
            )
        case Curve():
            colour = COLOURS[shape.colour][0]
            x, y = shape.points[-1]
            tip = ARROW[0] / 2 if shape.arrow else 0.0
            yield _stroke((*shape.points[:-1], (x, y - tip)), colour, 1.0)
            if shape.arrow:
                length, half = ARROW
                corners = [(x, y), (x - half, y - length), (x + half, y - length)]
                yield Polygon(corners, facecolor=colour, edgecolor="none")
        case Halo():
            for name, reach in ((shape.edge, HALO), (shape.fill, HALO - OUTLINE)):
                colour = COLOURS[name][0]
                for x, y, width, height in shape.boxes:
                    grown = (x - reach, y - reach, width + 2 * reach, height + 2 * reach)
                    yield _rectangle(grown, reach, colour, "none")
                for curve in shape.curves:
                    yield _stroke(curve, colour, 2 * reach)
        case Text():
            yield Line(
                shape.x,
                shape.y + 0.35 * shape.size,
                shape.text,
                fontsize=shape.size * _POINT,
                color=COLOURS[shape.colour][0],
                family="DejaVu Sans Mono" if shape.code else "DejaVu Sans",
                weight="bold" if shape.bold else "normal",
                ha={"start": "left", "middle": "center", "end": "right"}[shape.anchor],
                va="baseline",
                parse_math=False,
            )


def _rectangle(bounds: tuple[float, ...], radius: float, fill: str, edge: str) -> Artist:
    x, y, width, height = bounds
    rounded = f"round,pad=0,rounding_size={min(radius, height / 2)}"
    return FancyBboxPatch(
        (x, y), width, height, rounded, facecolor=fill, edgecolor=edge, linewidth=_POINT, mutation_aspect=1
    )


def _stroke(points: tuple[Position, ...], colour: str, width: float) -> Artist:
    codes = [Path.MOVETO, *[Path.CURVE4] * (len(points) - 1)]
    return PathPatch(
        Path(points, codes),
        fill=False,
        edgecolor=colour,
        linewidth=width * _POINT,
        capstyle="round",
        joinstyle="round",
    )
