"""Minimal pairs as the proxy of a search, and results beside runs and models in reports and cards."""

import json
from pathlib import Path

import pytest
import tiny
import torch
from pairs_samples import PIECES, SENTENCES, pairs, tokenizer, write_lines

from autobert_zero.data.normalisation import SPECIAL_TOKENS
from autobert_zero.minimal_pairs.measure import TokenisedPairs
from autobert_zero.minimal_pairs.proxy import PairScores
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.search.history import History
from autobert_zero.search_runs.stages import search_stages
from autobert_zero.settings import ConfigError
from autobert_zero.space import Backbone
from autobert_zero.training.loop import Diverged


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "pairs.jsonl", [{"good": good, "bad": bad} for good, bad in SENTENCES])


def model() -> MaskedLM:
    torch.manual_seed(0)
    sizes = EncoderConfig(len(SPECIAL_TOKENS) + len(PIECES), 8, 2, max_positions=16)
    return MaskedLM(Backbone.parse("conv 3"), sizes)


def test_the_score_is_the_accuracy_and_leaves_the_weights(data: Path) -> None:
    scored, tokens = model(), tokenizer(16)
    before = {name: tensor.clone() for name, tensor in scored.state_dict().items()}
    scores = PairScores(data, 100, tokens.backend_tokenizer, 16, False, "fp32")
    expected = TokenisedPairs(pairs(), tokens, 16).measure(model(), "fp32").overall.share
    assert scores(scored, 0) == scores(scored, 1) == {"minimal_pairs": expected}
    assert all((before[name] == tensor).all() for name, tensor in scored.state_dict().items())
    assert all(parameter.requires_grad for parameter in scored.parameters())


def test_a_model_without_numbers_has_diverged(data: Path) -> None:
    broken = model()
    with torch.no_grad():
        broken.bias.fill_(float("inf"))
    with pytest.raises(Diverged, match="not finite"):
        PairScores(data, 100, tokenizer(16).backend_tokenizer, 16, False, "fp32")(broken, 0)


def test_a_score_without_data_is_refused(corpus_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"set minimal_pairs\.data"):
        tiny.config(corpus_file, proxy={"score": "minimal_pairs"})


def test_a_plan_counts_the_pairs(corpus_file: Path) -> None:
    chosen = {"data": "pairs.jsonl", "pairs": 10}
    config = tiny.config(corpus_file, proxy={"score": "minimal_pairs", "minimal_pairs": chosen})
    stages = {stage.name: stage for stage in search_stages(config)}
    scored = config.proxy.candidates * (1 + 2 * config.strategy.parents)
    assert stages["their minimal pairs, at most"].tokens == scored * 10 * 2 * 12 // 3 * 12


@pytest.mark.slow
def test_a_search_by_minimal_pairs(corpus_file: Path, tmp_path: Path) -> None:
    words = [text.split()[:3] for text in tiny.paragraphs(12)]
    path = write_lines(
        tmp_path / "own.jsonl",
        [{"good": " ".join(each), "bad": " ".join(reversed(each))} for each in words],
    )
    chosen = {"data": str(path), "pairs": 10, "within_word": True}
    proxy = {"candidates": 3, "score": "minimal_pairs", "minimal_pairs": chosen}
    config = tmp_path / "config.yaml"
    config.write_text(tiny.config(corpus_file, proxy=proxy).to_yaml())
    out = tmp_path / "run"
    done = tiny.command("search", "--config", config, "--out", out)
    assert done.code == 0, done.err
    trials = History(f"sqlite:///{out / 'study.db'}").load()
    assert len(trials) == 3
    for trial in trials:
        assert trial.outcome.score in {count / 10 for count in range(11)}
        assert trial.outcome.metrics["minimal_pairs"] == trial.outcome.score

    path.write_text(path.read_text() + '{"good": "a b", "bad": "b a"}\n')
    done = tiny.command("search", "--out", out, "--resume")
    assert done.code == 2
    assert "was started on other minimal pairs" in done.err

    # The winner is measured from the run's folder; report and model card show the results beside it.
    results = out / "minimal_pairs.json"
    done = tiny.command("minimal-pairs", "--model", out, "--data", path, "--out", results)
    assert done.code == 0, done.err
    share = f"{100 * json.loads(results.read_text())['overall']['accuracy']:.1f}"
    assert tiny.command("report", out, "-o", tmp_path / "page.html").code == 0
    page = (tmp_path / "page.html").read_text()
    assert "<h2>Minimal pairs</h2>" in page
    assert f'<th scope="row">own</th><td class="n">{share}</td>' in page
    exported = tmp_path / "exported"
    done = tiny.command("export", out, exported, "--no-onnx", "--no-program")
    assert done.code == 0, done.err
    card = (exported / "README.md").read_text()
    assert "## Minimal pairs" in card
    assert f"| all | {share} |" in card
    again = tmp_path / "again"
    assert tiny.command("export", exported, again, "--no-onnx", "--no-program").code == 0
    assert "## Minimal pairs" in (again / "README.md").read_text()
    done = tiny.command("minimal-pairs", "--model", exported, "--data", path)
    assert f"| all | {share} |" in done.out

    results.write_text("{}")
    assert tiny.command("report", out, "-o", tmp_path / "page.html").code == 0
    assert "no accuracy on minimal pairs" in (tmp_path / "page.html").read_text()
    done = tiny.command("export", out, tmp_path / "third", "--no-onnx", "--no-program")
    assert done.code == 2
    assert "minimal_pairs.json is damaged" in done.err
