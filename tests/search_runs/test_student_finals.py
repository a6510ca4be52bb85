"""What the comparison of a search from a model distils, and from which weights; nothing is trained."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.nn import MaskedLM
from autobert_zero.nn.narrow import InnerUnits, narrow_feed_forward
from autobert_zero.nn.teacher_bank import TeacherBank
from autobert_zero.search.comparison import Training
from autobert_zero.search.config import LimitsConfig, SearchConfig
from autobert_zero.search.limits import Costs, Limits
from autobert_zero.search.progress import RunProgress
from autobert_zero.search.student_outputs import student_table, student_verdict
from autobert_zero.search.summary_text import LABELS
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.search_runs.start_model import StartModel
from autobert_zero.search_runs.student_finals import StudentFinals
from autobert_zero.search_runs.student_training import Distilled, StudentTrainer, Weights
from autobert_zero.settings import resolve
from autobert_zero.space import Backbone
from autobert_zero.zoo.layers import GATED_CONVOLUTION

SIZES = EncoderConfig(vocab_size=20, width=16, heads=2, max_positions=16)
TEACHER = Backbone.parse("\n".join([GATED_CONVOLUTION, "softmax(scale(K @ P.T)) @ Q", "conv 3", "conv 5"]))


class Recorded:
    """What was distilled: the weights that each model starts with, by name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.models: dict[str, MaskedLM] = {}
        monkeypatch.setattr(StudentTrainer, "run", self.run)

    def run(self, training: Training, weights: Weights) -> Distilled:
        model = MaskedLM(training.model.backbone, training.model.sizes).eval()
        model.load_state_dict(weights(training.model.backbone))
        self.models[training.name] = model
        loss = 1 + len(self.models) / 10
        return Distilled("complete", selection_loss=loss, val_loss=loss)


def compared(
    out: Path, best: Backbone, stopped: bool = False, inner: int = SIZES.inner, limit: float | None = None
) -> tuple[MaskedLM, Mapping[str, Any]]:
    """The teacher, whose head is not known, and the summary of a comparison.

    Args:
        out: Run folder.
        best: The winner.
        stopped: Whether it was stopped at a rung.
        inner: Inner width of the students; narrower ones have the first units of the teacher's blocks.
        limit: Maximum milliseconds of a student.
    """
    torch.manual_seed(0)
    teacher = MaskedLM(TEACHER, SIZES).eval()
    weights = {name: tensor for name, tensor in teacher.state_dict().items() if name.startswith("encoder.")}
    sizes = replace(SIZES, feed_forward=inner)
    narrowed = None
    if inner != SIZES.inner:
        variance = torch.arange(SIZES.inner, 0, -1.0, dtype=torch.float64)
        units = [InnerUnits(torch.zeros_like(variance), variance)] * 4
        narrowed = narrow_feed_forward(weights, SIZES, units, inner)
    start: Any = StartModel(SimpleNamespace(name="t"), TEACHER, weights, narrowed)  # type: ignore[arg-type]
    changes = {"proxy": {"sharing": "none", "rungs": [0.5], "steps": 4}, "final": {"rates": []}}
    setting: Any = SimpleNamespace(start=start, model=sizes, config=resolve(SearchConfig(), changes))
    evaluator: Any = SimpleNamespace(bank=TeacherBank(sizes, TEACHER, start.student_weights))
    whole = Costs(SIZES, 16, lambda layer: 1.0)
    limits = Limits(
        LimitsConfig(max_latency_ms=limit),
        Costs(sizes, 16, lambda layer: inner / SIZES.inner),
        TEACHER,
        whole,
    )
    rungs = {"rung 2": -1.0}
    outcome = Outcome(Status.PRUNED, metrics=rungs) if stopped else Outcome(Status.COMPLETE, -1.0, "", rungs)
    trial = Trial(Proposal(0, best.canonical(), mutations=("known: x",)), outcome)
    with RunProgress(Console(quiet=True)) as progress:
        return teacher, StudentFinals(setting, out, progress, limits, evaluator).run([trial])


def test_the_first_half_computes_what_the_teachers_first_layers_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recorded = Recorded(monkeypatch)
    teacher, summary = compared(tmp_path, Backbone.parse("conv 9\nconv 9"))
    ids = torch.arange(5, 17)[None]
    truncated = teacher.encoder
    truncated.layers = truncated.layers[:2]
    with torch.no_grad():
        expected: Tensor = truncated(ids)
        ours = recorded.models["first-half"].encoder(ids)
    assert torch.equal(ours, expected)
    assert summary["first-half"]["backbone"] == [str(layer) for layer in TEACHER.layers[:2]]
    heads = [
        {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("encoder.")}
        for model in recorded.models.values()
    ]
    for head in heads[1:]:
        assert all(torch.equal(head[name], tensor) for name, tensor in heads[0].items())


@pytest.mark.parametrize(
    ("best", "same"),
    [("conv 9\nconv 7", "convolution"), ("softmax(scale(K @ P.T)) @ V\nconv 5", "every-second")],
)
def test_an_opponent_that_is_the_winner_is_distilled_once(
    best: str, same: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recorded = Recorded(monkeypatch)
    _, summary = compared(tmp_path, Backbone.parse(best))
    assert same not in recorded.models
    assert {**summary["best"], "trial": None} == {**summary[same], "trial": None}
    assert {"screening-0", "best", "first-half", "hybrid"} <= set(recorded.models)
    assert (summary["found_again"], summary["strongest"] in ("best", same)) == ([same], False)
    sentence = f"The search found nothing better than {LABELS[same]}: the winner is that backbone."
    assert sentence in student_verdict(summary, LABELS)


def test_opponents_of_narrow_students_keep_the_models_feed_forward_blocks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A layer of half the width takes half the time: two of the teacher's layers fit into four."""
    recorded = Recorded(monkeypatch)
    teacher, summary = compared(tmp_path, Backbone.parse("conv 9\nconv 9\nconv 3\nQ + K"), inner=32)
    shapes = {
        name: (len(row["backbone"]), row["feed_forward"])
        for name, row in summary.items()
        if isinstance(row, dict) and "feed_forward" in row
    }
    assert shapes == {
        "best": (4, 32),
        "every-second": (2, 64),
        "first-half": (2, 64),
        "hybrid": (4, 32),
        "convolution": (4, 32),
        "narrow-layers": (4, 32),
        "teacher": (4, 64),
    }
    weights, name = teacher.state_dict(), "feed_forward.up.weight"
    for opponent, layers in (("every-second", (1, 3)), ("first-half", (0, 1))):
        theirs = recorded.models[opponent].state_dict()
        for own, layer in enumerate(layers):
            assert torch.equal(
                theirs[f"encoder.layers.{own}.{name}"], weights[f"encoder.layers.{layer}.{name}"]
            )
    narrow = recorded.models["narrow-layers"].state_dict()
    assert narrow[f"encoder.layers.3.{name}"].shape == (32, 16)
    assert summary["best"]["speedup"] == summary["every-second"]["speedup"] == 2
    assert "| the model's layers, evenly, with narrower feed-forward blocks |" in "\n".join(
        student_table(summary, LABELS)
    )


@pytest.mark.parametrize(("limit", "depth"), [(None, 1), (1.5, 1), (2.0, 2), (3.9, 3)])
def test_opponents_are_as_deep_as_the_limit_allows(
    limit: float | None, depth: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where the winner is faster than it has to be: a layer takes a millisecond."""
    Recorded(monkeypatch)
    _, summary = compared(tmp_path, Backbone.parse("conv 31"), limit=limit)
    assert {len(summary[name]["backbone"]) for name in ("hybrid", "convolution")} == {depth}
    assert summary["every-second"]["within_latency"] == (depth >= 2)


def test_the_summary_says_what_was_narrowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Recorded(monkeypatch)
    own = "\n".join(str(layer) for layer in TEACHER.layers)
    _, summary = compared(tmp_path, Backbone.parse(own), inner=32)
    assert summary["found_again"] == ["narrow-layers"]
    text = student_verdict(summary, LABELS)
    assert "Its feed-forward blocks are 32 wide instead of 64. With blocks of that width the search" in text
    assert "found no better layers than the model's own." in text
    assert "nothing better" not in text


def test_the_screening_says_where_a_rung_stopped_a_finalist(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Recorded(monkeypatch)
    _, summary = compared(tmp_path, Backbone.parse("conv 9"), stopped=True)
    assert summary["screening"] == [
        {
            "trial": 0,
            "score": -1.0,
            "stopped_after": 2,
            "status": "complete",
            "selection_loss": 1.1,
            "backbone": ["conv 9"],
        }
    ]
