"""Who is trained from scratch after a search, by histories as rungs leave them; nothing is trained."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from autobert_zero.errors import UserError
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.finalists import Standing, choose_finalists, standings
from autobert_zero.search.progress import RunProgress
from autobert_zero.search.trial import KNOWN, Outcome, Proposal, Status, Trial
from autobert_zero.search_runs.finals import Finals
from autobert_zero.settings import resolve
from autobert_zero.space import KERNEL_SIZES, Backbone, Convolution
from autobert_zero.training.scratch import Job, JobResult

CONFIG = resolve(
    SearchConfig(),
    {
        "model": {"layers": 1, "width": 16, "heads": 2},
        "proxy": {"sharing": "none", "steps": 80, "rungs": [0.25, 0.5]},
        "final": {"finalists": 2, "screening_steps": 10, "workers": 1},
    },
)
PROXY = CONFIG.proxy


def trial(number: int, *scores: float, known: bool = False, status: Status | None = None) -> Trial:
    """A candidate that was scored after 20, 40 and 80 steps, as far as it came."""
    metrics = {f"rung {rung}": score for rung, score in zip((20, 40), scores, strict=False)}
    whole = len(scores) == 3
    outcome = Outcome(
        status or (Status.COMPLETE if whole else Status.PRUNED), scores[2] if whole else None, "", metrics
    )
    proposal = Proposal(
        number,
        Backbone((Convolution(KERNEL_SIZES[number % len(KERNEL_SIZES)]),)).canonical(),
        mutations=(f"{KNOWN}: k{number}",) if known else (),
    )
    return Trial(proposal, outcome)


FAILED = Status.FAILED
CASES: dict[str, tuple[list[Trial], list[int]]] = {
    "the best given one was trained in full": (
        [
            trial(0, -6, -5, -4.4, known=True),
            trial(1, -6, -5, -4.3, known=True),
            trial(2, -6, -5, -4.1),
            trial(3, -6, -5, -4.2),
        ],
        [2, 3, 1, 0],
    ),
    "two of three given ones, in the order of their standing": (
        [
            trial(0, -6, -5, -4.4, known=True),
            trial(1, -6, -5, -4.5, known=True),
            trial(2, -6, -5, -4.3, known=True),
            trial(3, -6, -5, -4.1),
        ],
        [3, 2, 0],
    ),
    "it is among the best anyway": (
        [trial(0, -6, -5, -4, known=True), trial(1, -6, -5, -4.3), trial(2, -6, -5, -4.5)],
        [0, 1],
    ),
    "all given ones were stopped: who came further is better": (
        [
            trial(0, -5.0, known=True),
            trial(1, -5.9, -5.2, known=True),
            trial(2, -5.8, -5.3, known=True),
            trial(3, -5, -4, -3),
            trial(4, -5, -4, -3.5),
        ],
        [3, 4, 1, 2],
    ),
    "all were stopped at the first rung: the better score there": (
        [trial(0, -5.9, known=True), trial(1, -5.7, known=True), trial(2, -5, -4, -3)],
        [2, 1, 0],
    ),
    "one that was trained in full is before any that was stopped": (
        [
            trial(0, -5, -1, known=True),
            trial(1, -6, -5, -4.9, known=True),
            trial(2, -5, -4, -3),
            trial(3, -5, -4, -3.1),
        ],
        [2, 3, 1, 0],
    ),
    "of equal ones the first": (
        [
            trial(0, -5.9, known=True),
            trial(1, -5.9, known=True),
            trial(2, -5, -4, -3),
            trial(3, -5, -4, -3),
        ],
        [2, 3, 0, 1],
    ),
    "who failed has no standing": (
        [trial(0, known=True, status=FAILED), trial(1, -5.9, known=True), trial(2, -5, -4, -3)],
        [2, 1],
    ),
    "nothing but a stopped given one": ([trial(0, -5.9, known=True), trial(1, -5.5)], [0]),
    "nothing was given": ([trial(0, -5.9), trial(1, -5, -4, -3), trial(2, -5, -4, -2)], [2, 1]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_two_best_given_backbones_are_finalists(case: str) -> None:
    trials, finalists = CASES[case]
    assert choose_finalists(trials, PROXY, 2) == finalists


def test_a_score_of_later_counts() -> None:
    trials = [
        trial(0, -6, -5, -4.4, known=True),
        trial(1, -6, -5, -4.3, known=True),
        Trial(trial(2, -6, -5, -4.1).proposal, trial(2, -6, -5, -4.1).outcome, {0: -4.2}),
    ]
    assert choose_finalists(trials, PROXY, 1) == [2, 0, 1]
    assert standings(trials, PROXY)[0] == Standing(80, -4.2)


@pytest.mark.parametrize("trials", [[], [trial(0, -5.9)], [trial(0, known=True, status=FAILED)]])
def test_without_a_scored_candidate_there_is_nothing_to_compare(trials: list[Trial]) -> None:
    with pytest.raises(UserError, match="no candidate completed"):
        choose_finalists(trials, PROXY, 3)


def test_why_no_candidate_completed_is_said() -> None:
    backbone = trial(0).proposal.backbone
    trials = [
        Trial(Proposal(number, backbone), Outcome(FAILED, reason=reason))
        for number, reason in enumerate(["out of memory", "its worker died", "its worker died"])
    ]
    with pytest.raises(UserError, match=r"no candidate completed \(most often: its worker died\), so"):
        choose_finalists(trials, PROXY, 3)


@given(
    st.lists(
        st.tuples(st.lists(st.integers(-9, 0), min_size=1, max_size=3), st.booleans()), min_size=1, max_size=7
    ),
    st.integers(1, 4),
)
def test_no_given_one_stands_above_all_finalists(scored: list[tuple[list[int], bool]], count: int) -> None:
    trials = [trial(n, *map(float, scores), known=known) for n, (scores, known) in enumerate(scored)]
    standing = standings(trials, PROXY)
    known = [standing[number] for number, (_, known) in enumerate(scored) if known]
    whole = sorted(each for each in standing.values() if each.steps == 80)
    if not known and not whole:
        return
    chosen = [standing[number] for number in choose_finalists(trials, PROXY, count)]
    assert len(set(choose_finalists(trials, PROXY, count))) == len(chosen) <= count + 2
    assert not known or max(chosen) >= max(known)
    assert not whole or chosen[0] == whole[-1]


class Trainer:
    """An executor with a table of losses by the kernel of a model's only layer."""

    def __init__(self, losses: dict[int, float]) -> None:
        self.losses = losses
        self.workers: set[int] = set()
        self.trained: list[str] = []

    def train(
        self, jobs: Sequence[Job], workers: int, on_step: Any, on_result: Callable[[JobResult], None]
    ) -> None:
        self.workers.add(workers)
        for job in jobs:
            self.trained.append(job.name)
            loss = self.losses.get(getattr(job.backbone.layers[0], "kernel", 0), 9.0)
            on_result(JobResult(job.name, "complete", selection_loss=loss, val_loss=loss, mlm_accuracy=0.1))

    def speed(self, *model: Any) -> float:
        return 1.0


def compared(
    config: SearchConfig, trials: list[Trial], executor: Any, out: Path, workers: int = 0
) -> dict[str, Any]:
    """The comparison at the end of a search."""
    prepared: Any = SimpleNamespace(
        config=config,
        space=config.bounds,
        model=config.model.encoder_config(50, config.data.length),
        vocabulary=SimpleNamespace(size=50),
        data=None,
        device="cpu",
    )
    with RunProgress(Console(quiet=True)) as progress:
        return Finals(prepared, out, progress, executor, workers).run(trials)


def test_a_search_reports_a_given_backbone_that_a_rung_stopped_where_it_is_the_best(tmp_path: Path) -> None:
    """Trial 0, of kernel 3, was on the plateau at the first rung, and is the best from scratch."""
    trials = [trial(0, -5.9, known=True), trial(1, -5, -4, -3), trial(2, -5, -4, -3.1)]
    summary = compared(CONFIG, trials, Trainer({3: 3.8, 5: 3.9, 7: 4.0}), tmp_path)

    assert summary["best"]["trial"] == 0
    assert summary["best"]["backbone"] == ["conv 3"]
    assert [(row["trial"], row["stopped_after"], row["score"]) for row in summary["screening"]] == [
        (1, None, -3.0),
        (2, None, -3.1),
        (0, 20, -5.9),
    ]


@pytest.mark.parametrize(("setting", "option", "workers"), [(0, 3, 3), (2, 3, 2), (2, 0, 2)])
def test_the_workers_of_a_search_train_the_comparison_too(
    tmp_path: Path, setting: int, option: int, workers: int
) -> None:
    executor = Trainer({3: 3.8})
    compared(
        resolve(CONFIG, {"final": {"workers": setting}}), [trial(0, -5, -4, -3)], executor, tmp_path, option
    )
    assert executor.workers == {workers}


def test_the_screening_is_not_repeated_to_try_its_rate(tmp_path: Path) -> None:
    """Trial 1 is the winner, and trial 3, of kernel 9, the hybrid of one layer."""
    config = resolve(CONFIG, {"final": {"learning_rate": 1e-3, "rates": [1e-3, 1e-2]}})
    trials = [
        trial(0, -5, -4, -5),
        trial(1, -5, -4, -3),
        trial(2, -5, -4, -5),
        trial(3, -5, -4, -3.5),
    ]
    executor = Trainer({5: 3.8, 9: 3.9})
    summary = compared(config, trials, executor, tmp_path)

    assert len(executor.trained) == len(set(executor.trained))
    assert {"screening-1", "screening-3"} <= set(executor.trained)
    tried = {name for name in executor.trained if name.startswith(("rate-best", "rate-hybrid"))}
    assert tried == {"rate-best-0.01", "rate-hybrid-0.01"}
    assert summary["best"]["learning_rate"] == summary["hybrid"]["learning_rate"] == 1e-3

    again = Trainer({})
    resumed = compared(config, trials, again, tmp_path)
    assert again.trained == []
    assert resumed["screening"] == summary["screening"]
    assert resumed["hybrid"]["val_loss"] == summary["hybrid"]["val_loss"] == 3.9
