"""Whether to trust a ranking: the figures by hand, and a diagnosis of a small run."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import tiny

from autobert_zero.search_runs import diagnose as module
from autobert_zero.search_runs.diagnose import diagnosis_verdict
from autobert_zero.search_runs.rank_correlation import Correlation, correlation
from autobert_zero.space import Backbone


def test_the_verdict_follows_the_farther_horizon() -> None:
    def found(near: float, far: float) -> dict[str, object]:
        rows = [{"shared_vs_scratch": {"tau": 0.5, "low": low, "high": 0.9}} for low in (near, far)]
        return {"horizons": rows}

    assert "says something about the farther horizon" in diagnosis_verdict(found(0.1, 0.1))
    assert "not at the farther one" in diagnosis_verdict(found(0.1, -0.1))
    assert "do not show" in diagnosis_verdict(found(-0.1, -0.1))
    assert "do not show" in diagnosis_verdict({"horizons": [{"shared_vs_scratch": None}] * 2})


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
    assert recomputed is not None
    assert found["horizons"][1]["shared_vs_scratch"]["tau"] == recomputed.tau
    assert f"| 1,088 | 6 | {Correlation(**found['horizons'][0]['shared_vs_scratch'])} |" in done.out
    attentions = [
        Backbone.from_list(found["backbones"][trial]).global_attentions for trial in found["shared"]
    ]
    within = correlation(list(found["shared"].values()), scratch, attentions)
    assert found["horizons"][1]["shared_vs_scratch_within"] == (within and asdict(within))
    # Of fewer than ten candidates all are trained again at the farther horizon.
    again = found["losses_again"]
    assert again.keys() == found["shared"].keys()
    assert again != found["horizons"][1]["losses"]
    ceiling = correlation([-again[trial] for trial in again], scratch)
    assert ceiling is not None
    assert found["noise_ceiling"]["tau"] == ceiling.tau
    assert f"Two seeds of the farther one, the ceiling for any proxy: {ceiling} (6 candidates)" in done.out
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
