"""From a config to the data, the sizes and the device of a run."""

from pathlib import Path

import pytest
import tiny
import torch

from autobert_zero.data import packing, tokenizer
from autobert_zero.data.batches import training_batches
from autobert_zero.data.corpus import CorpusError
from autobert_zero.errors import UserError
from autobert_zero.search_runs import prepare as module
from autobert_zero.search_runs.prepare import prepare


def test_sizes_are_those_of_the_config(corpus_file: Path) -> None:
    prepared = prepare(tiny.config(corpus_file, model={"feed_forward": 20}))
    assert (prepared.model.width, prepared.model.heads, prepared.model.inner) == (16, 2, 20)
    assert (prepared.model.max_positions, prepared.model.vocab_size, prepared.vocabulary.size) == (
        16,
        200,
        200,
    )
    assert (prepared.space.layers, prepared.space.max_ops) == (2, 5)
    assert str(prepared.device) == "cpu"
    assert prepared.data.train.take(slice(0, 1)).shape == (1, 16)


def test_data_is_prepared_once(cache: Path, corpus_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[str] = []
    first = prepare(tiny.config(corpus_file), lambda name, done, of: watched.append(name))
    assert watched == ["training the tokenizer", "tokenising"]
    files = tiny.contents(cache)
    assert len(files) == 2
    monkeypatch.delattr(tokenizer, "train_kind")
    monkeypatch.delattr(packing, "tokenise_batches")
    again = prepare(tiny.config(corpus_file))
    assert again.tokenizer.to_str() == first.tokenizer.to_str()
    assert again.data.train.path == first.data.train.path
    assert tiny.contents(cache) == files


def test_a_tokenizer_that_is_named(cache: Path, corpus_file: Path, tmp_path: Path) -> None:
    trained = prepare(tiny.config(corpus_file)).tokenizer
    trained.save(str(tmp_path / "tokenizer.json"))
    named = prepare(tiny.config(corpus_file, data={"tokenizer": str(tmp_path), "vocab_size": 999}))
    assert named.tokenizer.to_str() == trained.to_str()
    assert named.model.vocab_size == 200
    assert len(tiny.contents(cache)) == 2


@pytest.mark.parametrize(
    ("device", "limits", "expected"),
    [
        ("cpu", {"max_latency_ms": 9.0}, 1),
        ("meta", {"max_latency_ms": 9.0}, 64),
        ("meta", {}, 1),
        ("meta", {"max_latency_ms": 9.0, "latency_batch": 3}, 3),
    ],
)
def test_the_batch_that_latency_is_measured_with(
    corpus_file: Path, monkeypatch: pytest.MonkeyPatch, device: str, limits: dict[str, float], expected: int
) -> None:
    """It is in the config of the run, which keeps it on another device; `meta` stands for a GPU."""
    monkeypatch.setattr(module, "find_device", lambda name: torch.device(device))
    config = tiny.config(corpus_file, limits=limits, precision="fp32")
    assert prepare(config).config.limits.latency_batch == expected


def test_every_batch_that_is_accepted_can_be_filled(corpus_file: Path) -> None:
    """The largest batch that passes the check of the corpus is one that training can draw."""
    refused = []
    for batch in range(150, 230):
        config = tiny.config(corpus_file, final={"batch_size": batch})
        try:
            prepared = prepare(config)
        except CorpusError:
            refused.append(batch)
        else:
            assert not refused
            next(training_batches(prepared.data.train, prepared.vocabulary, batch, (0,)))
    assert refused


def test_a_corpus_that_is_too_small_leaves_no_file(cache: Path, corpus_file: Path) -> None:
    with pytest.raises(CorpusError, match="use more text, a smaller batch or shorter sequences"):
        prepare(tiny.config(corpus_file, proxy={"batch_size": 1000}))
    assert not cache.exists()


@pytest.mark.parametrize("device", ["toaster", "hpu", "meta", "cuda:x", "xla"])
def test_devices_that_cannot_be_used(cache: Path, corpus_file: Path, device: str) -> None:
    with pytest.raises(UserError, match=f"device '{device}' cannot be used: .*; try auto or cpu") as caught:
        prepare(tiny.config(corpus_file, device=device))
    assert "\n" not in str(caught.value)
    assert not cache.exists()
