"""The inner width of students' feed-forward blocks, chosen before a search from a model starts.

Narrower blocks leave room for more layers within a limit. For each depth, the model's layers are tried with
the widest blocks that the limits allow.
"""

from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from autobert_zero.errors import counted
from autobert_zero.progress import Reporter
from autobert_zero.search.trial import Proposal
from autobert_zero.search_runs.latency import LatencyTable
from autobert_zero.search_runs.prepare import PreparedSearch
from autobert_zero.space import CanonicalBackbone
from autobert_zero.zoo import students

_WIDTHS = 24
"""Number of widths between which is chosen, if they are multiples of `_MULTIPLE`."""
_MULTIPLE = 8
"""Matrix units are fastest with sizes that are multiples of 8."""


@dataclass(frozen=True)
class Width:
    """A student of the model's layers, evenly over its depth, with the widest blocks within the limits.

    Attributes:
        layers: Number of layers.
        inner: Inner width of the feed-forward blocks.
        loss: Distillation loss of the student, trained for as long as the screening; None if it was not
            trained.
    """

    layers: int
    inner: int
    loss: float | None = None


def choose_width(
    prepared: PreparedSearch, latencies: LatencyTable | None, progress: Reporter
) -> tuple[PreparedSearch, list[Width]]:
    """Chooses the width whose student is closest to the model.

    Args:
        prepared: The prepared run, with blocks of the maximum width.
        latencies: Latencies of layers.
        progress: Shows the progress.

    Returns:
        The run with the chosen width, and the widths that were tried. If no student of the model's layers is
        within the limits, the narrowest blocks are chosen, untried.
    """
    widths = inner_widths(prepared.model.inner)
    tried = widest_within(partial(_fits, prepared, latencies), prepared.space.depths, widths)
    if not tried:
        return prepared.with_inner(widths[0]), []
    if len(tried) > 1:
        tried = [
            _distilled(prepared.with_inner(width.inner), _student(prepared, width.layers), progress)
            for width in tried
        ]
    best = min(tried, key=lambda width: float("inf") if width.loss is None else width.loss)
    return prepared.with_inner(best.inner), tried


def inner_widths(widest: int) -> list[int]:
    """About `_WIDTHS` widths at equal distances, narrowest first; the last is the widest."""
    step = _MULTIPLE * max(round(widest / (_WIDTHS * _MULTIPLE)), 1)
    return [*range(step, widest, step), widest]


def widest_within(
    fits: Callable[[int, int], bool], depths: Sequence[int], widths: Sequence[int]
) -> list[Width]:
    """The greatest width that fits for each depth; a student that is shallower and as wide is left out.

    Args:
        fits: Whether a depth with a width is within the limits; so are smaller ones.
        depths: Depths in ascending order.
        widths: Widths in ascending order.
    """
    chosen: dict[int, Width] = {}  # by width: a deeper student replaces a shallower one as wide
    for depth in depths:
        within = bisect(widths, False, key=lambda inner: not fits(depth, inner))
        if not within:
            break
        inner = widths[within - 1]
        chosen.pop(inner, None)
        chosen[inner] = Width(depth, inner)
    return list(chosen.values())


def _student(prepared: PreparedSearch, depth: int) -> CanonicalBackbone:
    """The model's layers, evenly over its depth."""
    assert prepared.start is not None
    return students(prepared.start.backbone, depth)["teacher-layers"].canonical()


def _fits(prepared: PreparedSearch, latencies: LatencyTable | None, depth: int, inner: int) -> bool:
    """Whether the student of a depth with blocks of some width is within the limits."""
    narrow = replace(prepared, model=replace(prepared.model, feed_forward=inner))
    return narrow.limits(latencies).refusal(_student(prepared, depth)) is None


def _distilled(prepared: PreparedSearch, student: CanonicalBackbone, progress: Reporter) -> Width:
    """Distils a student as a candidate, but for as long as a finalist: the whole search depends on it."""
    depth, inner = len(student.layers), prepared.model.inner
    longer = prepared.config.proxy.model_copy(update={"steps": prepared.config.final.screening_steps})
    prepared = replace(prepared, config=prepared.config.model_copy(update={"proxy": longer}))
    name = f"{counted(depth, 'layer')}, feed-forward {inner}"
    outcome, _ = prepared.evaluator().evaluate(
        Proposal(0, student),
        on_step=lambda done, total, loss: progress.update(name, done, total, f"loss {loss:.3f}"),
    )
    loss = None if outcome.score is None else -outcome.score
    progress.say(f"{name}: " + (outcome.reason if loss is None else f"distillation loss {loss:.4f}"))
    return Width(depth, inner, loss)
