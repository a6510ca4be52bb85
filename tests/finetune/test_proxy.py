"""Tasks as the proxy of a search: a function of model and seed, and searches that use it."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import tiny
import torch
from tokenizers import Tokenizer

from autobert_zero.data.normalisation import SPECIAL_TOKENS
from autobert_zero.finetune.config import FinetuneConfig
from autobert_zero.finetune.proxy import TaskScores
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.search.history import History
from autobert_zero.search_runs.proxy_evaluator import ProxyEvaluator
from autobert_zero.space import Backbone

WORDS = ["good", "bad", "film", "play", "the"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """SST-2 under the name of GLUE's archive, in a made-up language."""
    folder = tmp_path / "data" / "SST-2"
    folder.mkdir(parents=True)
    random = Random(0)
    for split, count in (("train", 64), ("validation", 48)):
        labels = [random.randrange(2) for _ in range(count)]
        texts = [" ".join([*random.choices(WORDS[2:], k=4), WORDS[1 - label]]) for label in labels]
        lines = [
            json.dumps({"sentence": text, "label": label}) for text, label in zip(texts, labels, strict=True)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    return folder.parent


def test_a_score_is_a_function_of_model_and_seed(data: Path) -> None:
    from tokenizers import models, pre_tokenizers

    vocabulary = {word: number for number, word in enumerate([*SPECIAL_TOKENS, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    settings = FinetuneConfig(steps=3, batch_size=8, length=16, precision="fp32", device="cpu")
    scores = TaskScores(["sst2"], data, tokenizer, 16, settings, 1e-3)
    torch.manual_seed(0)
    model = MaskedLM(Backbone.parse("conv 3"), EncoderConfig(len(vocabulary), 8, 2, max_positions=16))
    found = []
    for before in range(4):
        torch.manual_seed(before)
        found.append(scores(model, seed=7))
    assert all(each == found[0] for each in found)
    assert len({scores(model, seed)["sst2"] for seed in range(6)}) > 1


@pytest.mark.slow
def test_a_search_by_tasks_goes_on_where_it_was(corpus_file: Path, data: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    tasks = {"names": ["sst2"], "data": str(data), "steps": 2, "batch_size": 8}
    proxy = {"proxy": {**tiny.config(corpus_file).proxy.model_dump(), "score": "tasks", "tasks": tasks}}
    config.write_text(tiny.config(corpus_file, **proxy).to_yaml())
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    done = tiny.command("search", "--config", config, "--out", whole)
    assert done.code == 0, done.err
    with pytest.MonkeyPatch.context() as patch:
        real, calls = ProxyEvaluator.evaluate, iter(range(99))

        def stopping(*rest: Any) -> Any:
            if next(calls) == 6:
                raise KeyboardInterrupt
            return real(*rest)

        patch.setattr(ProxyEvaluator, "evaluate", stopping)
        assert tiny.command("search", "--config", config, "--out", resumed).code == 130
    torch.manual_seed(1)  # as another process would
    assert tiny.command("search", "--out", resumed, "--resume").code == 0
    one, other = (scores_of(out) for out in (whole, resumed))
    assert len(one) == 9
    assert all(0 <= score <= 1 for score, _ in one if score is not None)
    assert one == other


def scores_of(out: Path) -> list[tuple[float | None, dict[int, float]]]:
    trials = History(f"sqlite:///{out / 'study.db'}").load()
    return [(trial.outcome.score, dict(trial.rescored)) for trial in trials]
