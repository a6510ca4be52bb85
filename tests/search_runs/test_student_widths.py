"""The width of students' feed-forward blocks: which are tried, and which is chosen."""

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autobert_zero.search.config import SearchConfig
from autobert_zero.search.trial import Outcome, Status
from autobert_zero.search_runs import student_widths
from autobert_zero.search_runs.student_widths import Width, choose_width, inner_widths, widest_within
from autobert_zero.settings import resolve


@pytest.mark.parametrize(
    ("widest", "count", "step"), [(1536, 24, 64), (3072, 24, 128), (1152, 24, 48), (64, 8, 8), (20, 3, 8)]
)
def test_widths_by_table(widest: int, count: int, step: int) -> None:
    widths = inner_widths(widest)
    assert (len(widths), widths[1] - widths[0], widths[-1]) == (count, step, widest)


@pytest.mark.parametrize("widest", [1, 7, 8])
def test_small_widths_have_nothing_to_choose(widest: int) -> None:
    assert inner_widths(widest) == [widest]


@given(st.integers(1, 10_000))
def test_widths_ascend_to_the_widest(widest: int) -> None:
    widths = inner_widths(widest)
    assert widths == sorted(set(widths))
    assert widths[-1] == widest
    assert all(width % 8 == 0 for width in widths[:-1])


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        # A layer of width w costs 1 + w / 4: of (w 4, 8, 12, 16) 2, 3, 4 and 5.
        (25, [Width(5, 16)]),
        (24, [Width(4, 16), Width(5, 12)]),
        (10, [Width(2, 16), Width(3, 8), Width(5, 4)]),  # four layers have room for 4 only, as five do
        (1.5, []),
    ],
)
def test_each_depth_has_the_widest_blocks_within_the_limit(limit: float, expected: list[Width]) -> None:
    found = widest_within(lambda depth, inner: depth * (1 + inner / 4) <= limit, range(1, 6), [4, 8, 12, 16])
    assert found == expected


@given(
    st.floats(0.1, 10),
    st.floats(0.01, 1),
    st.floats(0.1, 100),
    st.integers(1, 12),
    st.integers(8, 400).map(inner_widths),
)
def test_what_is_tried_is_within_the_limit_and_nothing_is_better_in_both(
    layer: float, unit: float, limit: float, depth: int, widths: list[int]
) -> None:
    def fits(layers: int, inner: int) -> bool:
        return layers * (layer + unit * inner) <= limit

    found = widest_within(fits, range(1, depth + 1), widths)
    assert all(fits(each.layers, each.inner) for each in found)
    allowed = [(layers, inner) for layers in range(1, depth + 1) for inner in widths if fits(layers, inner)]
    best = {
        (layers, inner)
        for layers, inner in allowed
        if not any(other != (layers, inner) and other[0] >= layers and other[1] >= inner for other in allowed)
    }
    assert {(each.layers, each.inner) for each in found} == best


CONFIG = resolve(SearchConfig(), {"proxy": {"steps": 5}, "final": {"screening_steps": 7}})


@dataclass(frozen=True)
class Prepared:
    """A run of a model of four layers and width 32, where a layer costs 8 + its width, and 80 are allowed.

    A candidate has 5 steps, a finalist 7.
    """

    scores: dict[int, float | None]
    config: SearchConfig = CONFIG
    inner: int = 32

    @property
    def space(self) -> Any:
        return SimpleNamespace(depths=range(1, 5))

    @property
    def model(self) -> Any:
        return SimpleNamespace(inner=self.inner)

    def with_inner(self, inner: int) -> "Prepared":
        return replace(self, inner=inner)

    def evaluator(self) -> Any:
        assert self.config.proxy.steps == 7
        score = self.scores[self.inner]
        outcome = Outcome(Status.COMPLETE, score) if score else Outcome(Status.DIVERGED, reason="loss is NaN")
        return SimpleNamespace(evaluate=lambda proposal, on_step: (outcome, None))


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ({32: -0.5, 16: -0.3, 8: -0.4}, 16),
        ({32: -0.2, 16: -0.3, 8: -0.4}, 32),
        ({32: None, 16: None, 8: -0.4}, 8),
    ],
)
def test_the_student_with_the_lowest_loss_decides(
    scores: dict[int, float | None], chosen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        student_widths, "_fits", lambda prepared, latencies, depth, inner: depth * (8 + inner) <= 80
    )
    monkeypatch.setattr(
        student_widths, "_student", lambda prepared, depth: SimpleNamespace(layers=[0] * depth)
    )
    lines: list[str] = []
    prepared: Any = Prepared(scores)
    progress: Any = SimpleNamespace(say=lines.append, update=lambda *_: None)
    run, tried = choose_width(prepared, None, progress)
    assert (run.model.inner, run.config.proxy.steps) == (chosen, 5)
    losses = {each.inner: each.loss for each in tried}
    assert losses == {inner: None if score is None else -score for inner, score in scores.items()}
    assert [each.layers for each in tried] == [2, 3, 4]
    assert len(lines) == 3
