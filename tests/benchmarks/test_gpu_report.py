"""What fails or takes too long on a card costs its own row only."""

import json
import time
from pathlib import Path

import pytest


def test_all_files_with_tests_that_need_a_card_are_run_on_one() -> None:
    from gpu import CARD_TESTS
    from gpu_report import ROOT

    files = (ROOT / "tests").rglob("test_*.py")
    needy = {path for path in files if "skipif(not torch.cuda.is_available()" in path.read_text("utf-8")}
    needy.add(ROOT / "tests/nn/test_fused_convolution.py")  # skipped without a card or Triton's interpreter
    needy.discard(Path(__file__))
    assert {ROOT / name for name in CARD_TESTS} == needy


def test_other_rows_outlive_one_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    from gpu_report import Report

    def fail() -> float:
        raise RuntimeError(f"the beginning {'.' * 2000} the end")

    report = Report(100)
    assert report.measure("models", "good", lambda: 2.5) == 2.5
    assert report.measure("models", "bad", fail) is None
    assert report.measure("models", "next", lambda: 1.5) == 1.5
    assert report.failed
    assert report.parts["models"]["next"] == 1.5
    told = report.parts["models"]["bad"]
    assert told.startswith("failed: RuntimeError: the beginning")
    assert told.endswith("the end")
    assert len(told) < 1100
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"models {row} {json.dumps(value)}" for row, value in report.parts["models"].items()]


def test_a_row_has_a_deadline_and_a_late_one_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_report

    monkeypatch.setattr(gpu_report, "ROW_SECONDS", 0.05)
    report = gpu_report.Report(100)
    assert report.measure("models", "endless", lambda: time.sleep(60)) is None
    assert report.parts["models"]["endless"].startswith("failed: TimeoutError")
    late = gpu_report.Report(1)
    assert late.measure("models", "late", lambda: 1) is None
    assert late.parts == {"models": {"late": "skipped"}}
    assert not late.failed


def test_the_error_of_a_program_is_what_it_printed_last() -> None:
    from gpu_report import run_module

    assert run_module("timeit", "-h").startswith("Tool for measuring")
    with pytest.raises(RuntimeError, match=r"unrecognized arguments: --no-such-option$"):
        run_module("json.tool", "--no-such-option")


def test_a_ratio_needs_both_figures() -> None:
    from gpu_report import ratio

    assert (ratio(3, 2), ratio(None, 2), ratio(3, None)) == (1.5, None, None)
