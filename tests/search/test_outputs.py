"""The files that people read."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from autobert_zero import cost
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import UserError
from autobert_zero.search.outputs import read_winner, write_backbone, write_leaderboard, write_summary
from autobert_zero.search.summary_text import summary_markdown, verdict
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import Backbone

SIZES = EncoderConfig(vocab_size=23, width=8, heads=2, max_positions=10)
BERT = Backbone.parse("softmax(scale(Q @ K.T)) @ V\nconv 3").canonical()
PLAIN = Backbone.parse("conv 9\nconv 3").canonical()


def result(loss: float | None, reason: str = "") -> dict[str, Any]:
    return {
        "backbone": BERT.to_list(),
        "status": "diverged" if loss is None else "complete",
        "reason": reason,
        "val_loss": loss,
        "mlm_accuracy": None if loss is None else 0.25,
        "parameters": 1234,
        "flops": 5_000_000,
        "tokens": 0 if loss is None else 4_000_000,
        "tokens_per_second": 0.0 if loss is None else 1000.0,
    }


def summary(
    best: float | None, bert: float | None, hybrid: float | None, other: float | None
) -> dict[str, Any]:
    return {
        "best": result(best, "loss is nan at step 9"),
        "bert": result(bert, "loss is nan at step 9"),
        "hybrid": result(hybrid),
        "convolution": result(other),
        "screening": [
            {"trial": 3, "score": -4.5, "status": "complete", "selection_loss": 4.25, "backbone": []},
            {"trial": 8, "score": -4.75, "status": "diverged", "selection_loss": None, "backbone": []},
        ],
        "candidates": 9,
        "statuses": {"complete": 8, "diverged": 1},
        "seconds": 20.0,
        "search_seconds": 12.0,
        "seed": 3,
    }


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        (
            (3.0, 3.5, 3.25, 3.125),
            "Against its strongest opponent, convolutions only, the found backbone has a held-out "
            "loss 0.125 nats lower at equal tokens. "
            "The found backbone beats BERT by 0.500 nats, the hand-made hybrid by 0.250 nats, "
            "convolutions only by 0.125 nats. One seed: differences below 0.06 nats are noise at this size.",
        ),
        (
            (3.0, 3.5, 2.75, 2.5),
            "Against its strongest opponent, convolutions only, the found backbone has a held-out "
            "loss 0.500 nats higher at equal tokens. "
            "The found backbone beats BERT by 0.500 nats. The found backbone is beaten by the hand-made "
            "hybrid by 0.250 nats, convolutions only by 0.500 nats. One seed: differences below 0.06 nats "
            "are noise at this size.",
        ),
        (
            (3.0, None, 3.25, 3.0),
            "Against its strongest opponent, convolutions only, the found backbone has a held-out "
            "loss 0.000 nats lower at equal tokens. "
            "The found backbone beats the hand-made hybrid by 0.250 nats. One seed does not tell it apart "
            "from convolutions only (+0.000). One seed: differences below 0.06 nats are noise at this size.",
        ),
        ((None, 3.0, 3.0, 3.0), "The found backbone diverged when trained in full: loss is nan at step 9."),
    ],
)
def test_the_verdict_names_winner_and_margin(losses: tuple[float | None, ...], expected: str) -> None:
    assert verdict(summary(*losses)) == expected


def test_short_trainings_have_more_noise() -> None:
    rows = summary(3.0, 3.5, 3.25, 3.125)
    for name in ("best", "bert", "hybrid", "convolution"):
        rows[name]["tokens"] = 600_000
    text = verdict(rows)
    assert "beats BERT by 0.500 nats, the hand-made hybrid by 0.250 nats. One seed" in text
    assert "apart from convolutions only (+0.125). One seed: differences below 0.15 nats are" in text


def test_a_modern_comparison_tells_of_equal_time_and_equal_weights() -> None:
    rows = summary(3.0, 5.0, 3.25, 3.5)
    rows["gated-convolution"] = result(2.9) | {"val_loss_equal_time": 3.2}
    rows["equal_weights"] = result(2.95) | {"opponent": "gated-convolution"}
    assert verdict(rows).startswith(
        "Against its strongest opponent, gated convolutions, the found backbone has a held-out loss 0.100 "
        "nats higher at equal tokens and 0.200 nats lower at equal time. The found backbone beats BERT by 2"
    )
    text = summary_markdown(rows)
    assert "| gated convolutions | 2.9000 | 3.2000 | 0.2500 | 1,234 | 5.0 | 1,000 |" in text
    assert "| gated convolutions, as many weights as found | 2.9500 |" in text


def test_without_a_comparison_at_equal_time_nothing_is_said_of_it() -> None:
    rows = summary(3.0, 5.0, 3.25, 3.5)
    rows["best"]["val_loss_equal_time"] = 3.0
    rows["equal_weights"] = result(2.95) | {"opponent": "hybrid"}
    text = summary_markdown(rows)
    assert "equal time" not in text
    assert "| the hand-made hybrid | 3.2500 | 0.2500 | 1,234 | 5.0 | 1,000 |" in text
    assert "| the hand-made hybrid, as many weights as found | 2.9500 | 0.2500 | 1,234 | | |" in text
    rows["hybrid"]["val_loss_equal_time"] = 3.5
    assert "at equal time each opponent had as long as the found backbone." in summary_markdown(rows)


def test_the_verdict_names_another_opponent_that_is_the_strongest_at_equal_time() -> None:
    """A lead over an opponent that is slow says nothing of the others."""
    rows = summary(3.0, 5.0, 3.25, 3.125)
    rows["gated-convolution"] = result(2.9) | {"val_loss_equal_time": 3.2}
    rows["convolution"]["val_loss_equal_time"] = 3.02
    assert verdict(rows).startswith(
        "Against its strongest opponent, gated convolutions, the found backbone has a held-out loss 0.100 "
        "nats higher at equal tokens and 0.200 nats lower at equal time. At equal time its strongest "
        "opponent is convolutions only: 0.020 nats lower. The found backbone beats BERT by 2"
    )


def test_the_verdict_says_that_an_opponent_was_found_again() -> None:
    rows = summary(3.0, 3.5, 3.25, 3.0) | {"found_again": ["convolution"]}
    assert verdict(rows).startswith(
        "The search found nothing better than convolutions only: the winner is that backbone. "
        "Against its strongest opponent, the hand-made hybrid, the found backbone has a held-out loss 0.250 "
    )
    assert "convolutions only (" not in verdict(rows)
    alone = {name: row for name, row in rows.items() if name not in ("bert", "hybrid")}
    assert verdict(alone) == (
        "The search found nothing better than convolutions only: the winner is that backbone."
    )
    assert "| convolutions only | 3.0000 |" in summary_markdown(rows)


@pytest.mark.parametrize("losses", [(3.0, 3.5, 3.25, 3.125), (3.0, None, 3.0, 3.0), (None, None, None, None)])
def test_the_summary_shows_every_model(losses: tuple[float | None, ...]) -> None:
    text = summary_markdown(summary(*losses))
    for name, loss in zip(
        ("found", "BERT", "the hand-made hybrid", "convolutions only"), losses, strict=True
    ):
        shown = (
            f"| {name} | {loss:.4f} | 0.2500 | 1,234 | 5.0 | 1,000 |" if loss else f"| {name} | diverged: "
        )
        assert shown in text
    assert "9 candidates (8 complete, 1 diverged) in 12 s of search" in text
    assert "seed 3" in text
    assert "| 3 | -4.5000 | 4.250000 |\n| 8 | -4.7500 | diverged |" in text
    assert "\n".join(BERT.to_list()) in text


def test_the_leaderboard_has_a_row_for_every_candidate(tmp_path: Path) -> None:
    trials = [
        Trial(
            Proposal(0, BERT), Outcome(Status.COMPLETE, -5.0, metrics={"val_loss": 5.0, "mlm_accuracy": 0.5})
        ),
        Trial(Proposal(1, PLAIN), Outcome(Status.DIVERGED, reason='loss is nan, "again"')),
        Trial(Proposal(2, PLAIN, 1, 0), Outcome(Status.COMPLETE, -4.0, seconds=1.234), {0: -3.0}),
        Trial(Proposal(3, PLAIN), Outcome(Status.FAILED, reason="out of memory")),
    ]
    write_leaderboard(tmp_path / "leaderboard.csv", trials, SIZES, tokens=5)
    with (tmp_path / "leaderboard.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["trial"] for row in rows] == ["0", "2", "1", "3"]
    assert [row["rank"] for row in rows] == ["1", "2", "", ""]
    assert [row["status"] for row in rows] == ["complete", "complete", "diverged", "failed"]
    assert [row["score"] for row in rows] == ["-5.000000", "-4.000000", "", ""]
    assert [row["latest_score"] for row in rows] == ["-3.000000", "-4.000000", "", ""]
    assert [row["reason"] for row in rows] == ["", "", 'loss is nan, "again"', "out of memory"]
    assert rows[1]["seconds"] == "1.23"
    assert (rows[0]["parent"], rows[1]["parent"], rows[1]["round"]) == ("", "0", "1")
    assert rows[0]["backbone"] == "softmax(scale(Q @ K.T)) @ V | conv 3"
    assert rows[0]["key"] == BERT.key()
    assert int(rows[0]["parameters"]) == cost.parameters(BERT, SIZES)
    assert int(rows[0]["flops"]) == cost.flops(BERT, SIZES, 5)


def test_a_backbone_is_read_back_from_both_files(tmp_path: Path) -> None:
    write_backbone(tmp_path, "best", BERT)
    assert Backbone.parse((tmp_path / "best.txt").read_text()) == BERT
    assert Backbone.from_json((tmp_path / "best.json").read_text()) == BERT


def test_the_winner_is_read_back(tmp_path: Path) -> None:
    whole = summary(4.0, 4.1, 4.2, 4.3)
    write_summary(tmp_path, whole)
    assert read_winner(tmp_path) == (whole, BERT)
    del whole["best"]["status"]  # as the first runs had it
    (tmp_path / "summary.json").write_text(json.dumps(whole))
    assert read_winner(tmp_path) == (whole, BERT)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"the run in .* is not finished; continue it with: search --out .* --resume"),
        ("{", r"summary\.json is not JSON"),
        ("[]", r"summary\.json is not a JSON object"),
        ('{"best": 3}', r"summary\.json is damaged"),
        ('{"best": {"backbone": ["conv 4"]}}', r"summary\.json is damaged"),
        (json.dumps({"best": result(None, "loss is nan")}), r"diverged when trained in full \(loss is nan\)"),
    ],
)
def test_a_winner_without_weights_is_named(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "summary.json").write_text(text)
    with pytest.raises(UserError, match=message) as raised:
        read_winner(tmp_path)
    assert "\n" not in str(raised.value)
