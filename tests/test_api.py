"""The front door: the functions of the package, and that it loads nothing before it has to."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
import tiny
import yaml

import autobert_zero as az
from autobert_zero import api
from autobert_zero.errors import UserError
from autobert_zero.pretrain import presets as pretrain_presets
from autobert_zero.pretrain.config import PhaseConfig, PretrainConfig, PretrainDataConfig
from autobert_zero.search import presets

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(import autobert_zero as az\n.*?)```", PAGE, re.DOTALL)
FUNCTIONS = ("draw", "finetune", "pretrain", "search")
HYBRID = az.Backbone.parse("conv 3\nsoftmax(scale(Q @ K.T)) @ V")


@pytest.fixture
def small_demos(corpus_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo presets, as small as they can be."""

    def demo(backbone: az.Backbone) -> PretrainConfig:
        return PretrainConfig(
            backbone=tuple(backbone.to_list()),
            data=PretrainDataConfig(corpus=str(corpus_file), vocab_size=200),
            phases=(PhaseConfig(steps=2, length=16, batch_size=4),),
        )

    final = {"finalists": 1, "screening_steps": 1, "steps": 1, "rates": [1e-3]}
    search = tiny.config(corpus_file, proxy={"candidates": 2, "warmup_steps": 0}, final=final)
    monkeypatch.setitem(presets.PRESETS, "demo", lambda: search)
    monkeypatch.setitem(pretrain_presets.PRETRAIN_PRESETS, "demo", demo)


def write_task(folder: Path) -> None:
    """SST-2 with random labels."""
    folder.mkdir(parents=True)
    random = Random(0)
    for split, count in (("train", 8), ("validation", 4)):
        rows = [{"sentence": text, "label": random.randrange(2)} for text in tiny.paragraphs(count)]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def test_a_training_starts_from_the_weights_of_a_search(
    small_demos: None, finished_run: Path, tmp_path: Path
) -> None:
    summary = az.pretrain(tmp_path / "model", start=finished_run, quiet=True)
    assert summary["backbone"] == (finished_run / "best.txt").read_text().splitlines()


@pytest.mark.slow
def test_the_example_runs(
    small_demos: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shared_cache: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path / "data" / "sst2")
    names: dict[str, object] = {}
    exec(EXAMPLE, names)
    assert names["best"] == az.Backbone.parse((tmp_path / "runs" / "demo" / "best.txt").read_text())
    assert capsys.readouterr().out.startswith(f"{names['best']} ")
    assert (tmp_path / "best.svg").read_text(encoding="utf-8") == az.draw(str(names["best"]))
    # What a command refuses, the functions do.
    with pytest.raises(UserError, match=r"holds a search|holds other files"):
        az.search("runs/demo")
    with pytest.raises(UserError, match="a resumed run keeps its config"):
        az.pretrain("models/best", resume=True, seed=1)
    assert az.search("runs/demo", resume=True, quiet=True) == names["best"]


def test_the_docstring_has_the_example() -> None:
    assert az.__doc__ is not None
    assert "\n".join(f"    {line}".rstrip() for line in EXAMPLE.splitlines()) in az.__doc__


def test_a_setting_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    for call in (
        lambda: az.search(tmp_path / "run", settings={"model.widht": 1}),
        lambda: az.pretrain(tmp_path / "model", "bert", settings={"model.widht": 1}),
        lambda: az.finetune("model", "sst2", tmp_path / "tuned", settings={"epoch": 1}),
    ):
        with pytest.raises(UserError, match=r"widht|epoch"):
            call()
    with pytest.raises(UserError, match="name a backbone"):
        az.pretrain(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_values_of_settings_arrive_as_they_are() -> None:
    """Emoji, what looks like an escape, paths, and numbers of NumPy."""
    values = ["/tmp/\U0001f600/a.txt", "\\ud83d\\ude00 \u2028", Path("a"), np.int64(3), [1e-3, None, True]]
    read = [
        yaml.safe_load(line.partition("=")[2])
        for line in api._assignments(dict(zip("abcde", values, strict=True)))
    ]
    assert read == [*values[:2], "a", 3, [1e-3, None, True]]
    with pytest.raises(UserError, match="a setting must be a number, a text or a list, not object"):
        api._assignments({"seed": object()})


def test_a_depth_is_refused_where_there_is_one() -> None:
    with pytest.raises(UserError, match="a backbone has a depth of its own"):
        az.draw(HYBRID, layers=7)


def test_a_picture_is_drawn_of_backbones_and_names(tmp_path: Path) -> None:
    assert az.draw(HYBRID) == az.draw(str(HYBRID), tmp_path / "hybrid.svg")
    assert (tmp_path / "hybrid.svg").read_text(encoding="utf-8") == az.draw(HYBRID)
    assert az.draw("bert", layers=1) != az.draw("bert", layers=2)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_found_under_its_name_whatever_was_imported(name: str) -> None:
    function = getattr(api, name)
    assert inspect.signature(getattr(az, name)) == inspect.signature(function)
    assert inspect.getdoc(function)
    assert name in dir(az)


def test_the_packages_can_be_imported_before_and_after() -> None:
    program = (
        "import autobert_zero.search.trial as trial, autobert_zero.finetune.config\n"
        "import autobert_zero as az\n"
        "from autobert_zero import pretrain, search\n"
        "assert az.search is search and callable(search) and az.search.trial is trial\n"
        "import autobert_zero.pretrain.presets\n"
        "assert az.pretrain is pretrain and callable(pretrain)\n"
        "assert callable(az.finetune) and az.finetune.config\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_import_loads_next_to_nothing() -> None:
    """PyTorch takes seconds to load, NumPy and the package's metadata a tenth of one."""
    program = (
        "import sys; before = set(sys.modules); import autobert_zero\n"
        "print(*(set(sys.modules) - before))\n"
        "assert autobert_zero.Backbone and {'autobert_zero.search', 'torch', 'numpy'}.isdisjoint(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {"importlib.metadata", "json", "subprocess", "pydantic", "rich"}.isdisjoint(done.stdout.split())


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(az, "serch")
    assert az.__version__
