"""Folders that versions without the modern space and trunk wrote: kept in tests/golden/before_trunk."""

import json
import shutil
from pathlib import Path

import hf_samples
import pytest
import tiny
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForMaskedLM

from autobert_zero.encoder_config import TRUNK
from autobert_zero.export.sources import open_source
from autobert_zero.hf import AutoBertZeroForMaskedLM
from autobert_zero.nn import WeightBank
from autobert_zero.report import runs
from autobert_zero.search.config import SearchConfig
from autobert_zero.search_runs.folder import read_run_start
from autobert_zero.settings import read_yaml, resolve
from autobert_zero.space import PAPER

OLD = Path(__file__).parent / "golden" / "before_trunk"
BACKBONE = ["Q + K", "conv 7"]  # the winner of the run


@pytest.fixture(scope="module")
def recorded() -> tuple[dict[str, Tensor], Tensor]:
    """Inputs, and the logits that the saved model gave for them when it was saved."""
    content = json.loads((OLD / "saved" / "logits.json").read_text())
    inputs = {name: torch.tensor(values) for name, values in content["inputs"].items()}
    return inputs, torch.tensor(content["logits"])


@pytest.fixture(scope="module")
def config() -> SearchConfig:
    return resolve(SearchConfig(), read_yaml(OLD / "run" / "config.yaml"))


def assert_as_recorded(logits: Tensor, recorded: tuple[dict[str, Tensor], Tensor]) -> None:
    inputs, expected = recorded
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(logits[real], expected[real], rtol=0, atol=1e-5)


@pytest.mark.parametrize("auto", [AutoBertZeroForMaskedLM, AutoModelForMaskedLM])
def test_a_saved_model_gives_the_logits_that_it_gave(
    auto: type[AutoBertZeroForMaskedLM], recorded: tuple[dict[str, Tensor], Tensor]
) -> None:
    model = auto.from_pretrained(OLD / "saved").eval()
    assert [getattr(model.config, name) for name in TRUNK[:4]] == ["post", "gelu", "learned", True]
    with torch.no_grad():
        assert_as_recorded(model(**recorded[0]).logits, recorded)


@pytest.mark.slow
def test_an_exported_folder_works_with_and_without_the_package(
    tmp_path: Path, recorded: tuple[dict[str, Tensor], Tensor]
) -> None:
    folder = tmp_path / "exported"
    shutil.copytree(OLD / "exported", folder)
    shutil.copy(OLD / "saved" / "model.safetensors", folder)  # it was exported from there
    with torch.no_grad():
        assert_as_recorded(open_source(folder).model(**recorded[0]).logits, recorded)
    (theirs,) = hf_samples.without_the_package("AutoModelForMaskedLM", folder, recorded[0])
    assert_as_recorded(theirs, recorded)


def test_settings_of_later_versions_are_those_of_bert_and_the_paper(config: SearchConfig) -> None:
    assert config.bounds.primitives == PAPER
    assert config.bounds.known == ()
    assert config.proxy.sharing == "biws"
    assert config.final.rates == ()
    assert config.final.equal_time is SearchConfig().final.equal_time
    sizes = config.model.encoder_config(80, 16)
    assert [getattr(sizes, name) for name in TRUNK[:4]] == ["post", "gelu", "learned", True]
    assert sizes.inner == 16


def test_a_run_goes_on_without_what_it_did_not_have() -> None:
    config, _ = read_run_start(OLD / "run")
    assert (config.proxy.calibration, config.proxy.train_again) == (0, 0)


def test_a_run_is_a_source_of_exports() -> None:
    source = open_source(OLD / "run")
    assert source.model.config.backbone == BACKBONE
    assert source.tokenizer is not None
    logits = source.model(**source.tokenizer("ab cd", return_tensors="pt")).logits
    assert logits.shape[-1] == len(source.tokenizer)
    assert logits.isfinite().all()


def test_a_run_is_reported_as_a_whole_one(tmp_path: Path) -> None:
    run = runs.read_reported_run(OLD / "run")
    assert run.missing == ()
    assert [trial.proposal.backbone.to_list() for trial in run.trials][-1] == BACKBONE
    page = tmp_path / "page.html"
    done = tiny.command("report", OLD / "run", "--out", page)
    assert done.code == 0, done.err
    assert "damaged" not in page.read_text(encoding="utf-8")


def test_a_bank_goes_on(config: SearchConfig) -> None:
    state = load_file(OLD / "run" / "bank" / "00000004.safetensors")
    bank = WeightBank(config.model.encoder_config(80, config.data.length), config.model.layers)
    bank.load_state(state)
    assert bank.updates == 26  # 14 of the warm-up, 3 of each of four candidates
    assert not bank.update_counts.any()  # it was not counted
    assert all(torch.equal(bank.state()[name], tensor) for name, tensor in state.items())


def test_a_run_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its text, it makes the comparison that it lacks."""
    out = tmp_path / "run"
    shutil.copytree(OLD / "run", out)
    for name in ("summary.json", "model.safetensors", "best.txt", "best.json"):
        (out / name).unlink()
    (tmp_path / "corpus.txt").write_text("\n".join(tiny.paragraphs(150)) + "\n")
    monkeypatch.chdir(tmp_path)  # the corpus's path is relative
    done = tiny.command("search", "--resume", "--out", out)
    assert done.code == 0, done.err
    before = json.loads((OLD / "run" / "summary.json").read_text())
    after = json.loads((out / "summary.json").read_text())
    assert after["candidates"] == before["candidates"]
    scores = [row["score"] for row in before["screening"]]
    assert [row["score"] for row in after["screening"]][: len(scores)] == scores
    assert after["best"]["val_loss"] > 0
