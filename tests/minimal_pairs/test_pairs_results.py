"""Accuracies, ties and intervals, and the forms in which results are shown and kept."""

import json
from math import sqrt
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from autobert_zero.errors import UserError
from autobert_zero.minimal_pairs.results import (
    Accuracy,
    Results,
    ScoredPair,
    accuracy_table,
    read_results,
    remarks,
    write_results,
)
from autobert_zero.run_folder.digests import weights_digest
from autobert_zero.run_folder.names import MINIMAL_PAIRS

PAIRS = (
    ScoredPair("a", "agreement", "syntax", -1.0, -2.0),
    ScoredPair("a", "agreement", "syntax", -3.0, -2.0),
    ScoredPair("b", "agreement", "morphology", -2.0, -2.0, identical=True, unknown=True),
    ScoredPair("c", None, None, -1.0, -1.5),
)
RESULTS = Results("PLL", PAIRS, unknown_share=0.125)


def test_groups_and_ties() -> None:
    assert RESULTS.overall == Accuracy(pairs=4, correct=2, ties=1)
    assert RESULTS.by("paradigm") == {"a": Accuracy(2, 1, 0), "b": Accuracy(1, 0, 1), "c": Accuracy(1, 1, 0)}
    assert RESULTS.by("phenomenon") == {"agreement": Accuracy(3, 1, 1)}
    assert RESULTS.by("field") == {"morphology": Accuracy(1, 0, 1), "syntax": Accuracy(2, 1, 0)}


@settings(max_examples=30)
@given(st.integers(1, 5000), st.floats(0, 1))
def test_intervals_are_wilsons(pairs: int, share: float) -> None:
    correct = round(pairs * share)
    p, z = correct / pairs, norm.ppf(0.975)
    middle = (p + z**2 / (2 * pairs)) / (1 + z**2 / pairs)
    half = z / (1 + z**2 / pairs) * sqrt(p * (1 - p) / pairs + z**2 / (4 * pairs**2))
    low, high = Accuracy(pairs, correct, 0).interval
    assert low == pytest.approx(middle - half, abs=1e-9)
    assert high == pytest.approx(middle + half, abs=1e-9)


def test_plain_data_has_everything() -> None:
    figures = RESULTS.to_dict(per_pair=True)
    assert figures["overall"]["accuracy"] == 0.5
    assert figures["mean_of_paradigms"] == 0.5
    assert figures["identical_pairs"] == figures["pairs_with_unknown"] == 1
    assert figures["paradigms"]["b"] == {
        "phenomenon": "agreement",
        "field": "morphology",
        **Accuracy(1, 0, 1).to_dict(),
    }
    assert figures["pairs"][1] == {"paradigm": "a", "good": -3.0, "bad": -2.0}
    assert "pairs" not in RESULTS.to_dict()


def test_a_table_in_points() -> None:
    rows = accuracy_table(RESULTS.to_dict())
    assert [row.split(" | ")[0] for row in rows[2:]] == [
        *("| c", "| a", "| b", "| phenomenon agreement", "| field morphology", "| field syntax", "| all"),
    ]
    assert rows[-1] == "| all | 50.0 | 15.0 to 85.0 | 4 | 1 |"
    assert len(accuracy_table(RESULTS.to_dict(), paradigms=False)) == len(rows) - 3


def test_remarks_name_what_makes_figures_doubtful() -> None:
    told = " ".join(remarks(RESULTS.to_dict()))
    assert "1 tie is counted as wrong" in told
    assert "1 of them" in told
    assert "12.50% of the tokens are unknown" in told
    assert len(remarks(Results("PLL", PAIRS[:2], 0.0).to_dict())) == 1


def test_results_beside_a_model(tmp_path: Path) -> None:
    assert read_results(tmp_path) is None
    figures = RESULTS.to_dict()
    write_results(tmp_path / MINIMAL_PAIRS, figures)
    assert read_results(tmp_path) == figures
    (tmp_path / "model.safetensors").write_bytes(b"a")
    measured = {**figures, "weights": weights_digest(tmp_path)}
    write_results(tmp_path / MINIMAL_PAIRS, measured)
    assert read_results(tmp_path) == measured
    (tmp_path / "model.safetensors").write_bytes(b"b")
    with pytest.raises(UserError, match="belongs to other weights than those next to it; measure again"):
        read_results(tmp_path)
    for damage in ("{", "[]", json.dumps({**figures, "overall": {}})):
        (tmp_path / MINIMAL_PAIRS).write_text(damage)
        with pytest.raises(UserError, match="is damaged"):
            read_results(tmp_path)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_results(tmp_path / "file" / "results.json", RESULTS.to_dict())
