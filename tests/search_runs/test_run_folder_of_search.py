"""What a search's folder promises: startable, resumable from anywhere, on the same text only, not lost."""

import json
import shutil
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml
from rich.console import Console

from autobert_zero.run_folder import RunError, read_record
from autobert_zero.search.config import SearchConfig, read_search_config
from autobert_zero.search.history import History
from autobert_zero.search.progress import RunProgress
from autobert_zero.search_runs import folder
from autobert_zero.search_runs.proxy_evaluator import ProxyEvaluator
from autobert_zero.search_runs.run import run_search
from autobert_zero.settings import read_yaml, resolve
from autobert_zero.space import KERNEL_SIZES, PAPER, Backbone

CONVOLUTIONS = {f"conv {kernel}" for kernel in KERNEL_SIZES}
SMALL = ("--set", "proxy.candidates=3", "--set", "final.finalists=1")


def stopping_at(patch: pytest.MonkeyPatch, owner: Any, name: str, at: int) -> None:
    real, calls = getattr(owner, name), count()

    def stopped(*args: Any, **options: Any) -> Any:
        if next(calls) == at:
            raise KeyboardInterrupt
        return real(*args, **options)

    patch.setattr(owner, name, stopped)


@pytest.fixture(scope="module")
def stopped_run(settings_file: Path, corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that was stopped after its second candidate, in a folder `run` beside its corpus `books`."""
    folder = tmp_path_factory.mktemp("stopped")
    (folder / "books").mkdir()
    shutil.copy(corpus_file, folder / "books" / "a.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        stopping_at(patch, ProxyEvaluator, "evaluate", 2)
        done = tiny.command(
            *("search", "--config", settings_file, "--corpus", "books", "--out", "run", *SMALL)
        )
    assert done.code == 130
    return folder


@pytest.fixture
def stopped(stopped_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(stopped_run / "run", tmp_path / "run")
    return tmp_path / "run"


def resumed(out: Path) -> tiny.Finished:
    return tiny.command("search", "--resume", "--out", out)


def test_a_relative_corpus_is_found_from_any_folder(stopped_run: Path, stopped: Path) -> None:
    config = read_yaml(stopped / "config.yaml")
    assert config["data"]["corpus"] == str(stopped_run / "books")
    assert resumed(stopped).code == 0
    record = read_record(stopped)
    assert record is not None
    assert [len(session["versions"]) > 4 for session in record.sessions] == [True, True]
    assert record.sessions[0]["command"].endswith(" ".join(("--out run", *SMALL)))


@pytest.mark.parametrize("change", ["gained", "lost a line", "renamed"])
def test_other_text_is_refused(
    settings_file: Path, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    books, out = tmp_path / "books", tmp_path / "run"
    books.mkdir()
    shutil.copy(corpus_file, books / "a.txt")
    stopping_at(monkeypatch, ProxyEvaluator, "evaluate", 1)
    given = ("search", "--config", settings_file, "--corpus", books, "--out", out, *SMALL)
    assert tiny.command(*given).code == 130
    before = tiny.contents(out)
    if change == "gained":
        (books / "b.txt").write_text("\n".join(tiny.paragraphs(3, seed=9)))
    elif change == "lost a line":
        (books / "a.txt").write_text("\n".join((books / "a.txt").read_text().splitlines()[1:]))
    else:
        (books / "a.txt").rename(books / "z.txt")
        shutil.copy(books / "z.txt", books / "a.txt")
    done = resumed(out)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "was started on other text" in done.err
    assert tiny.contents(out) == before


def test_a_corpus_that_moved_is_named_in_the_config(stopped_run: Path, stopped: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(stopped_run / "books", moved, copy_function=shutil.copy2)
    config = yaml.safe_load((stopped / "config.yaml").read_text())
    config["data"]["corpus"] = str(moved)
    (stopped / "config.yaml").write_text(yaml.safe_dump(config))
    done = resumed(stopped)
    assert done.code == 0, done.err


def test_an_edited_trunk_is_refused_and_both_trunks_named(stopped: Path) -> None:
    config = yaml.safe_load((stopped / "config.yaml").read_text())
    config["model"] |= {"norm": "pre", "biases": False}
    (stopped / "config.yaml").write_text(yaml.safe_dump(config))
    before = tiny.contents(stopped)
    done = resumed(stopped)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert (
        "is of a search with another model.biases (true there, false here), "
        "model.norm (post there, pre here); "
        f"put {stopped / 'config.yaml'} back as it was, or start another run\n"
    ) in done.err
    assert tiny.contents(stopped) == before


@pytest.mark.parametrize(("setting", "value"), [("steps", 5), ("learning_rate", 0.5), ("rates", [1e-3])])
def test_an_edited_comparison_is_refused(stopped: Path, setting: str, value: object) -> None:
    """Some models would be trained in one way, and those after the stop in another."""
    config = yaml.safe_load((stopped / "config.yaml").read_text())
    config["final"][setting] = value
    (stopped / "config.yaml").write_text(yaml.safe_dump(config))
    before = tiny.contents(stopped)
    done = resumed(stopped)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "was started on other settings of the comparison: config.yaml was " in done.err
    assert tiny.contents(stopped) == before


def test_a_run_inside_of_its_corpus_resumes(settings_file: Path, corpus_file: Path, tmp_path: Path) -> None:
    shutil.copy(corpus_file, tmp_path)
    out = tmp_path / "runs" / "one"
    with pytest.MonkeyPatch.context() as patch:
        stopping_at(patch, ProxyEvaluator, "evaluate", 1)
        given = ("search", "--config", settings_file, "--corpus", tmp_path, "--out", out, *SMALL)
        assert tiny.command(*given).code == 130
    done = resumed(out)
    assert done.code == 0, done.err


@pytest.mark.parametrize("at", range(4))
def test_a_kill_while_the_folder_is_made(
    settings_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """The record and the first file of the start, then the others: the folder can be started anew."""
    from autobert_zero.run_folder import record

    out, arguments = tmp_path / "run", ("search", "--config", settings_file, *SMALL)
    with pytest.MonkeyPatch.context() as patch:
        stopping_at(patch, *((record, "write_text", 0) if at == 0 else (folder, "write_text", at - 1)))
        assert tiny.command(*arguments, "--out", out).code == 130
    assert out.is_dir()
    done = tiny.command(*arguments, "--out", out, "--seed", 3)
    assert done.code == 0, done.err
    assert json.loads((out / "summary.json").read_text())["seed"] == 3


def test_a_storage_that_fails_leaves_no_folder(settings_file: Path, tmp_path: Path) -> None:
    out, arguments = tmp_path / "run", ("search", "--config", settings_file, *SMALL)
    done = tiny.command(*arguments, "--out", out, "--storage", f"sqlite:///{tmp_path}/no/such/folder.db")
    assert done.code == 2
    assert not out.exists()


def test_a_folder_that_a_failed_storage_left_before(stopped: Path, settings_file: Path) -> None:
    """Earlier versions made the folder first."""
    for path in stopped.iterdir():
        if path.name not in (".lock", "config.yaml", "seed_backbones.json", "tokenizer.json"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = tiny.command("search", "--config", settings_file, "--out", stopped, *SMALL, "--seed", 4)
    assert done.code == 0, done.err
    assert json.loads((stopped / "summary.json").read_text())["seed"] == 4


def test_a_run_of_before_this_version_resumes(stopped: Path) -> None:
    """It has no record, its config lacks settings that came later, and its study knows no text."""
    (stopped / "run.json").unlink()
    config = yaml.safe_load((stopped / "config.yaml").read_text())
    del config["model"]["norm"], config["limits"]
    (stopped / "config.yaml").write_text(yaml.safe_dump(config))
    study = History(f"sqlite:///{stopped / 'study.db'}")._study
    identity = dict(study.user_attrs["identity"])
    del identity["text"], identity["limits"], identity["model"]["norm"]
    study.set_user_attr("identity", identity)
    done = resumed(stopped)
    assert done.code == 0, done.err
    assert "has no run.json" in done.log


def test_a_missing_setting_of_a_run_of_this_version_is_damage(stopped: Path) -> None:
    config = yaml.safe_load((stopped / "config.yaml").read_text())
    del config["limits"]
    (stopped / "config.yaml").write_text(yaml.safe_dump(config))
    assert "config.yaml is damaged (a setting is missing)" in resumed(stopped).err


@pytest.mark.parametrize("content", ["{", ""])
def test_a_damaged_tokenizer(stopped: Path, content: str) -> None:
    (stopped / "tokenizer.json").write_text(content)
    done = resumed(stopped)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "tokenizer.json is damaged or missing" in done.err


def test_another_tokenizer(stopped: Path) -> None:
    path = stopped / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["max_input_chars_per_word"] = 7
    path.write_text(json.dumps(tokenizer))
    assert "was started on other tokenizer" in resumed(stopped).err


def test_other_seed_backbones_and_settings_are_refused(stopped: Path) -> None:
    config = resolve(SearchConfig(), read_yaml(stopped / "config.yaml"))
    before = tiny.contents(stopped)
    with RunProgress(Console(quiet=True)) as progress:
        with pytest.raises(RunError, match="holds a search with other seed backbones, 0 of them"):
            run_search(config, stopped, progress, [Backbone.parse("conv 3\nconv 5")])
        says = r"another proxy\.steps \(3 there, 9 here\), seed \(0 there, 1 here\); a resumed run keeps"
        with pytest.raises(RunError, match=says):
            run_search(resolve(config, {"seed": 1, "proxy": {"steps": 9}}), stopped, progress)
    assert tiny.contents(stopped) == before


@pytest.mark.parametrize(
    ("primitives", "names"),
    [("modern", "modern"), (["matmul", "softmax", "transpose"], "transpose, softmax, matmul")],
)
def test_other_primitives_are_refused_and_both_sets_named(
    stopped: Path, primitives: str | list[str], names: str
) -> None:
    config = resolve(SearchConfig(), read_yaml(stopped / "config.yaml"))
    before = tiny.contents(stopped)
    says = rf"holds a search with another space\.primitives \(paper there, {names} here\); a resumed run"
    with RunProgress(Console(quiet=True)) as progress, pytest.raises(RunError, match=says):
        run_search(resolve(config, {"space": {"primitives": primitives}}), stopped, progress)
    assert tiny.contents(stopped) == before
    # The same set, written out in another order, is no other set.
    assert resolve(config, {"space": {"primitives": list(reversed(PAPER))}}) == config


def test_a_seed_backbone_from_outside_the_space_is_announced_and_evaluated(
    settings_file: Path, tmp_path: Path
) -> None:
    seed = Backbone.parse("softmax(scale(rotary(Q) @ rotary(K).T)) @ (V * sigmoid(V))\nconv 3")
    (tmp_path / "seed.txt").write_text(f"{seed}\n")
    given = ("search", "--config", settings_file, "--out", tmp_path / "run", *SMALL)
    done = tiny.command(*given, "--seed-backbone", tmp_path / "seed.txt")
    assert done.code == 0, done.err
    says = "seed backbones hold rotary, multiply, sigmoid, which space.primitives does not: they are"
    assert says in " ".join(done.log.split())
    first, *others = History(f"sqlite:///{tmp_path / 'run' / 'study.db'}").load()
    assert first.proposal.backbone == seed.canonical()
    assert first.outcome.score is not None
    drawn = [trial.proposal.backbone for trial in others if trial.proposal.parent is None]
    assert drawn
    assert all(backbone.operations <= {*PAPER, *CONVOLUTIONS} for backbone in drawn)


def test_rights(stopped: Path, settings_file: Path, tmp_path: Path) -> None:
    files = {path.name: path.stat().st_mode & 0o777 for path in stopped.rglob("*") if path.is_file()}
    snapshots = [mode for name, mode in files.items() if name.endswith(".safetensors")]
    assert set(snapshots) == {files["run.json"]} == {files["config.yaml"]}


def test_a_config_with_a_password_is_its_owners(settings_file: Path, tmp_path: Path) -> None:
    out, storage = tmp_path / "run", f"sqlite:///{tmp_path / 'team.db'}?timeout=7"
    done = tiny.command("search", "--config", settings_file, "--out", out, "--storage", storage, *SMALL)
    assert done.code == 0, done.err
    assert (out / "config.yaml").stat().st_mode & 0o777 == 0o600
    assert (out / "model.safetensors").stat().st_mode & 0o777 == (out / "run.json").stat().st_mode & 0o777
    assert "timeout=7" not in (out / "run.json").read_text()
    assert resumed(out).code == 0


def test_a_resumed_run_keeps_the_batch_that_latency_is_measured_with(
    stopped_run: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(stopped_run / "run", tmp_path / "run")
    saved = (out / "config.yaml").read_text()
    assert "latency_batch: 1\n" in saved
    (out / "config.yaml").write_text(saved.replace("latency_batch: 1\n", "latency_batch: 64\n"))
    config = read_search_config(out)
    for batch in (None, 64):
        limits = config.limits.model_copy(update={"latency_batch": batch})
        folder.check_same(config.model_copy(update={"limits": limits}), (), out)
    limits = config.limits.model_copy(update={"latency_batch": 1})
    with pytest.raises(RunError, match=r"another limits\.latency_batch"):
        folder.check_same(config.model_copy(update={"limits": limits}), (), out)
