"""Whether to trust a ranking: the figures by hand, and a diagnosis of a small run."""

import json
import shutil
from pathlib import Path

import pytest
import tiny

from autobert_zero.search_runs import diagnose as module
from autobert_zero.search_runs.diagnose import Correlation, correlation, diagnosis_verdict


def test_tau_by_hand() -> None:
    """Of the six pairs of 1 2 3 4 and 1 3 2 4 five agree and one does not."""
    found = correlation([1, 2, 3, 4], [1, 3, 2, 4])
    assert found.tau == pytest.approx(4 / 6)
    assert found.low < found.tau < found.high
    assert found == correlation([1, 2, 3, 4], [1, 3, 2, 4])


def test_the_interval_narrows_with_more_candidates() -> None:
    def width(count: int) -> float:
        found = correlation(range(count), [place + 3 * (place % 2) for place in range(count)])
        return found.high - found.low

    assert width(40) < width(10)
    assert correlation(range(30), range(30)).low == pytest.approx(1)
    assert correlation(range(30), range(0, -30, -1)).tau == pytest.approx(-1)


def test_the_verdict_follows_the_farther_horizon() -> None:
    def found(near: float, far: float) -> dict[str, object]:
        rows = [{"shared_vs_scratch": {"tau": 0.5, "low": low, "high": 0.9}} for low in (near, far)]
        return {"horizons": rows}

    assert "says something about the farther horizon" in diagnosis_verdict(found(0.1, 0.1))
    assert "not at the farther one" in diagnosis_verdict(found(0.1, -0.1))
    assert "do not show" in diagnosis_verdict(found(-0.1, -0.1))


@pytest.mark.slow
def test_a_small_run(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    before = {name: content for name, content in tiny.contents(run).items() if name != "diagnosis"}
    done = tiny.command("diagnose", run, "--candidates", 6)
    assert done.code == 0, done.err
    found = json.loads((run / "diagnosis.json").read_text())
    # 14 steps of warm-up and 3 of a candidate, in batches of 4 as the comparison's.
    assert [row["steps"] for row in found["horizons"]] == [17, 68]
    assert [row["tokens"] for row in found["horizons"]] == [17 * 4 * 16, 68 * 4 * 16]
    assert len(found["shared"]) == 6
    scratch = [-found["horizons"][1]["losses"][trial] for trial in found["shared"]]
    recomputed = correlation(list(found["shared"].values()), scratch)
    assert found["horizons"][1]["shared_vs_scratch"]["tau"] == recomputed.tau
    assert f"| 1,088 | 6 | {Correlation(**found['horizons'][0]['shared_vs_scratch'])} |" in done.out
    assert diagnosis_verdict(found) in done.out
    after = tiny.contents(run)
    assert {name: after[name] for name in before if after[name] is not None} == {
        name: content for name, content in before.items() if content is not None
    }
    monkeypatch.delattr(module, "train_all")  # the second time everything is read
    assert tiny.command("diagnose", run, "--candidates", 6).out == done.out


def test_too_few_candidates_are_said(settings_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = ("search", "--config", settings_file, "--out", out, "--set", "proxy.candidates=3")
    assert tiny.command(*run).code == 0
    done = tiny.command("diagnose", out)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "the run has 3 scored candidates; a diagnosis needs 5 or more" in done.err
    nothing = tiny.command("diagnose", tmp_path / "none")
    assert (nothing.code, nothing.err.count("\n")) == (2, 1)


def test_without_shared_weights_there_is_nothing_to_diagnose(settings_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = ("--set", "proxy.sharing=none", "--set", "proxy.candidates=5")
    assert tiny.command("search", "--config", settings_file, "--out", out, *settings).code == 0
    done = tiny.command("diagnose", out)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "shared no weights (proxy.sharing: none)" in done.err
