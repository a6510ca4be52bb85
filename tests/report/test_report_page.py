"""The page: its data are the history, it is well formed, it loads nothing, and damage is told."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from toy_runs import Page, toy_config, toy_run

from autobert_zero.report.page import render
from autobert_zero.report.runs import Run, read_reported_run
from autobert_zero.search.history import read_trials
from autobert_zero.search.ranking import newest_scores, ranked
from autobert_zero.search.summary_text import verdict
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.settings import resolve
from autobert_zero.space import Backbone
from autobert_zero.training.scratch import JobResult


@pytest.fixture
def damaged(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, for tests to break."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def history(data: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The embedded candidates, a row each."""
    columns = data["candidates"]
    return [
        (
            [columns["texts"][place] for place in columns["layers"][number]],
            columns["status"][number],
            columns["score"][number],
            columns["newest"][number],
            columns["reason"].get(str(number), ""),
            columns["round"][number],
            columns["parent"][number],
        )
        for number in range(len(columns["score"]))
    ]


def recorded(trials: tuple[Trial, ...]) -> list[tuple[Any, ...]]:
    newest = newest_scores(trials)
    return [
        (
            trial.proposal.backbone.to_list(),
            trial.outcome.status,
            trial.outcome.score,
            newest.get(trial.proposal.number),
            trial.outcome.reason,
            trial.proposal.round,
            trial.proposal.parent,
        )
        for trial in trials
    ]


def test_the_data_are_the_history() -> None:
    runs = [toy_run(70), toy_run(30, seed=1, name="other")]
    page = Page(render(runs))
    assert [history(data) for data in page.data["runs"]] == [recorded(run.trials) for run in runs]
    assert not page.problems
    for run, data, pictures in zip(runs, page.data["runs"], page.data["pictures"], strict=True):
        numbers = {trial.proposal.number for trial in ranked(run.trials)[:24]}
        for axis in data["axes"]:
            numbers |= set(axis["front"])
        assert {str(number) for number in numbers | set(data["lineage"])} == set(pictures)
        assert data["lineage"][-1] == data["winner"] == ranked(run.trials)[0].proposal.number


def test_a_finished_run(finished_run: Path) -> None:
    summary = json.loads((finished_run / "summary.json").read_text())
    run = read_reported_run(finished_run)
    page = Page(render([run]))
    assert run.missing == ()
    assert history(page.data["runs"][0]) == recorded(tuple(read_trials(finished_run / "study.db")))
    assert not page.problems
    assert verdict(summary) in page.text
    assert page.data["runs"][0]["winner"] == summary["best"]["trial"]
    uniformity = page.data["runs"][0]["uniformity"]
    assert list(uniformity) == ["found", "BERT", "the hand-made hybrid", "convolutions only"]
    assert uniformity["BERT"] == summary["bert"]["uniformity"]
    assert len(uniformity["found"]) == 3, "embeddings and two layers"
    for baseline in page.data["runs"][0]["baselines"]:
        assert baseline["score"] in {
            -summary[name]["val_loss"] for name in ("best", "bert", "hybrid", "convolution")
        }
    assert (finished_run / "config.yaml").read_text() in page.text
    assert f"torch {summary['versions']['torch']}" in page.text


def test_parameters_are_those_of_the_leaderboard(finished_run: Path) -> None:
    import csv

    data = Page(render([read_reported_run(finished_run)])).data["runs"][0]["candidates"]
    with (finished_run / "leaderboard.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            number = int(row["trial"])
            assert (data["parameters"][number], data["flops"][number]) == (
                int(row["parameters"]),
                int(row["flops"]),
            )


def test_nothing_is_loaded() -> None:
    source = render([toy_run(20)])
    assert all(address.startswith("data:") for address in Page(source).addresses)
    for loader in ("@import", "url(", "fetch(", "XMLHttpRequest", "import(", "<iframe"):
        assert loader not in source
    rest = source.replace("http://www.w3.org/2000/svg", "").replace("http://www.w3.org/1999/xlink", "")
    assert "http://" not in rest
    assert "https://" not in rest


def test_nothing_of_a_run_is_read_as_html() -> None:
    evil = "</script><script>alert(1)</script><!-- <b>"
    trials = (Trial(Proposal(0, Backbone.parse("conv 3").canonical()), Outcome(Status.FAILED, reason=evil)),)
    page = Page(render([Run(evil, toy_config(), trials=trials)]))
    assert not page.problems
    assert page.data["runs"][0]["candidates"]["reason"] == {"0": evil}
    assert page.text.count(evil) >= 2


def test_several_runs_are_compared() -> None:
    def finished(seed: int, best: float, bert: float, hybrid: float) -> Run:
        run = toy_run(15, seed, name=f"seed {seed}")
        losses = {"best": best, "bert": bert, "hybrid": hybrid, "convolution": best - 0.5}
        finals = {name: JobResult(name, "complete", val_loss=loss).to_dict() for name, loss in losses.items()}
        return Run(run.name, run.config, trials=run.trials, finals=finals)

    page = Page(render([finished(0, 4.0, 5.0, 4.25), finished(1, 4.25, 5.25, 4.0)]))
    assert not page.problems
    # Student's t with one degree of freedom: 12.7062 * 0.25 = 3.17655.
    assert (
        "Over 2 runs the found backbone beats BERT by 1.000 ± 0.000 nats, is not told apart from the "
        "hand-made hybrid (0.000 ± 3.177 nats), is beaten by convolutions only by 0.500 ± 0.000 nats."
        in page.text
    )
    assert page.data["groups"][0]["runs"] == [0, 1]
    assert "4.125 ± 1.588" in page.text


def test_runs_that_cannot_be_compared_are_apart() -> None:
    one, other = toy_run(15, name="one"), toy_run(15, 1, name="other")
    assert other.config is not None
    page = Page(render([one, replace(other, config=resolve(other.config, {"data": {"corpus": "b.txt"}}))]))
    assert not page.problems
    assert "2 runs in 2 comparisons: runs with other text" in page.text
    assert page.data["comparisons"] == [
        {"label": "data.corpus=kjv", "groups": [0]},
        {"label": "data.corpus=b.txt", "groups": [1]},
    ]


def test_titles_are_short() -> None:
    page = render([toy_run(5, seed, name=f"run{seed}") for seed in range(6)])
    assert "<title>autobert-zero: 6 runs: run0, run1, run2, …</title>" in page


def test_a_fine_tuning_is_named(tmp_path: Path) -> None:
    (tmp_path / "finetune.json").write_text("{}")
    (tmp_path / "summary.json").write_text("{}")
    done = tiny.command("report", tmp_path, "-o", tmp_path / "page.html")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "holds a fine-tuning, not a search; its figures are in " in done.err


def no_summary(folder: Path) -> None:
    (folder / "summary.json").unlink()


def broken_summary(folder: Path) -> None:
    (folder / "summary.json").write_text('{"best": {}}')


def cut_summary(folder: Path) -> None:
    path = folder / "summary.json"
    path.write_bytes(path.read_bytes()[:100])


def cut_study(folder: Path) -> None:
    path = folder / "study.db"
    path.write_bytes(path.read_bytes()[:5000])


def empty_study(folder: Path) -> None:
    (folder / "study.db").write_bytes(b"")


def no_study(folder: Path) -> None:
    (folder / "study.db").unlink()


def no_leaderboard(folder: Path) -> None:
    (folder / "leaderboard.csv").unlink()


def no_history_at_all(folder: Path) -> None:
    no_study(folder)
    no_leaderboard(folder)


def cut_both(folder: Path) -> None:
    cut_study(folder)
    path = folder / "leaderboard.csv"
    path.write_bytes(path.read_bytes()[:-40])


def no_config(folder: Path) -> None:
    (folder / "config.yaml").unlink()


def broken_config(folder: Path) -> None:
    (folder / "config.yaml").write_text("model: {layers: many}")


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def broken_seeds(folder: Path) -> None:
    (folder / "seed_backbones.json").write_text("[1, 2]")


def old_results(folder: Path) -> None:
    """As of a version that recorded neither uniformity nor versions."""
    summary = json.loads((folder / "summary.json").read_text())
    del summary["versions"]
    for name in ("best", "bert", "hybrid", "convolution"):
        del summary[name]["uniformity"]
    (folder / "summary.json").write_text(json.dumps(summary))


DAMAGES: list[tuple[Callable[[Path], None], str, int]] = [
    (no_summary, "summary.json is missing: the final comparison is not finished", 9),
    (broken_summary, "summary.json is damaged", 9),
    (cut_summary, "summary.json is damaged", 9),
    (cut_study, "the candidates are those of leaderboard.csv", 9),
    (empty_study, "the candidates are those of leaderboard.csv", 9),
    (no_study, "study.db, the history, is missing: the candidates are those of leaderboard.csv", 9),
    (no_leaderboard, "leaderboard.csv is missing", 9),
    (no_history_at_all, "leaderboard.csv cannot stand in for it: no candidate is shown", 0),
    (cut_both, "no candidate is shown", 0),
    (no_config, "The config cannot be read", 9),
    (broken_config, "The config cannot be read", 9),
    (no_tokenizer, "tokenizer.json cannot be read", 9),
    (broken_seeds, "seed_backbones.json is damaged", 9),
    (old_results, "versions of the packages were not recorded", 9),
]


@pytest.mark.parametrize(("damage", "sentence", "count"), DAMAGES, ids=[row[0].__name__ for row in DAMAGES])
def test_damage_is_told(damaged: Path, damage: Callable[[Path], None], sentence: str, count: int) -> None:
    damage(damaged)
    before = tiny.contents(damaged)
    run = read_reported_run(damaged)
    page = Page(render([run]))
    assert not page.problems
    assert sum(sentence in each for each in run.missing) == 1
    assert sentence in page.text
    assert len(page.data["runs"][0]["candidates"]["score"]) == count
    assert tiny.contents(damaged) == before, "a report changes nothing in a run"


def test_leaderboard_stands_in_for_the_study(damaged: Path) -> None:
    def facts(run: Run) -> list[tuple[Any, ...]]:
        return [
            (trial.proposal.backbone, trial.proposal.parent, trial.proposal.round, trial.outcome.status)
            for trial in run.trials
        ]

    intact = read_reported_run(damaged)
    no_study(damaged)
    assert facts(read_reported_run(damaged)) == facts(intact)
    assert read_reported_run(damaged).winner == intact.winner


def test_a_run_that_has_only_begun(damaged: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    begun.mkdir()
    shutil.copy(damaged / "config.yaml", begun)
    run = read_reported_run(begun)
    page = Page(render([run]))
    assert not page.problems
    assert "Not finished: 0 of 9 candidates, none with a score yet." in page.text
    assert page.data["runs"][0]["winner"] is None


def test_models_trained_before_the_end_are_shown(damaged: Path) -> None:
    no_summary(damaged)
    assert set(read_reported_run(damaged).finals) == {"best", "bert", "hybrid", "convolution"}
    (damaged / "final" / "bert.json").write_text("{")
    assert set(read_reported_run(damaged).finals) == {"best", "hybrid", "convolution"}


@pytest.mark.parametrize(
    ("sharing", "words"),
    [(["biws"], " under shared weights."), (["none"], " from new weights."), (["biws", "none"], ".")],
)
def test_the_page_says_with_which_weights_candidates_were_trained(sharing: list[str], words: str) -> None:
    one = toy_run(10)
    assert one.config is not None
    changed = {"biws": {}, "none": {"sharing": "none", "warmup_steps": 0}}
    runs = [replace(one, config=resolve(one.config, {"proxy": changed[kind]})) for kind in sharing]
    assert f"Candidates are scored after a short training{words} Dashed" in " ".join(render(runs).split())


def test_command(finished_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "page.html"
    other = tmp_path / "other"
    shutil.copytree(finished_run, other)
    done = tiny.command("report", finished_run, other, finished_run, "-o", out)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{out}: 0.")
    assert len(Page(out.read_text(encoding="utf-8")).data["runs"]) == 2


def test_the_page_on_the_standard_output(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = tiny.command("report", finished_run, "-o", "-")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("<!DOCTYPE html>")
    assert Page(done.out).problems == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [False, True])
def test_no_run_is_one_line(tmp_path: Path, make: bool) -> None:
    folder = tmp_path / "nothing"
    if make:
        folder.mkdir()
    done = tiny.command("report", folder, "-o", tmp_path / "page.html")
    assert done.code == 2
    assert done.err.startswith(f"error: {folder} is not a run")
    assert done.err.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("name", ["study.db", "config.yaml", "best.json"])
def test_a_file_that_is_no_report_is_not_written_over(name: str, finished_run: Path, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes((finished_run / name).read_bytes())
    done = tiny.command("report", finished_run, "-o", file)
    assert (done.code, done.err) == (
        2,
        f"error: {file} is a file other than a report; choose another -o\n",
    )
    assert file.read_bytes() == (finished_run / name).read_bytes()
    file.write_bytes(b"")  # as mktemp makes it
    assert [tiny.command("report", finished_run, "-o", file).code for _ in range(2)] == [0, 0]


def test_a_file_that_cannot_be_written_is_one_line(finished_run: Path, tmp_path: Path) -> None:
    done = tiny.command("report", finished_run, "-o", tmp_path)
    assert done.code == 2
    assert done.err == f"error: {tmp_path} cannot be written: Is a directory; choose another file\n"
    file = tmp_path / "file"
    file.touch()
    for path in (file / "page.html", file / "new" / "page.html"):
        done = tiny.command("report", finished_run, "-o", path)
        message = f"error: {path} cannot be written: {file} is a file, not a folder\n"
        assert (done.code, done.err) == (2, message)


def test_an_old_report_outlives_a_full_disk(
    finished_run: Path, tmp_path: Path, no_room: Callable[[int], None]
) -> None:
    page = tmp_path / "page.html"
    page.write_bytes(b"<!doctype html>")
    no_room(1000)
    done = tiny.command("report", finished_run, "-o", page)
    assert done.code == 2
    assert f"({page}); make room" in done.err
    assert page.read_bytes() == b"<!doctype html>"
    assert list(tmp_path.iterdir()) == [page]
