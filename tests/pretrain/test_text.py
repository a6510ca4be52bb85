"""The text of a pre-training: masked by words of any tokenizer, refused where it cannot be spelled."""

from itertools import islice
from pathlib import Path

import pytest
import tiny
import torch
from tokenizers import Tokenizer

from autobert_zero.data import streaming
from autobert_zero.data.corpus import CorpusError
from autobert_zero.pretrain import text as module
from autobert_zero.pretrain.config import PretrainConfig
from autobert_zero.pretrain.text import PretrainingText, open_text
from autobert_zero.settings import resolve

BASE = PretrainConfig(backbone=("conv 3",))


def opened(corpus: Path, given: Tokenizer | None = None, **text: object) -> PretrainingText:
    settings = {"corpus": str(corpus), "vocab_size": 300, **text}
    phases = [{"steps": 5, "length": 64, "batch_size": 1}]
    config = resolve(BASE, {"data": settings, "phases": phases, "report": {"evaluated_sequences": 8}})
    return open_text(config, lambda name, done, total: None, given)


@pytest.fixture(params=[False, True], ids=["prepared", "streamed"])
def streamed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, shared_cache: Path) -> bool:
    # Blocks of twenty paragraphs, so that the tiny corpus has several.
    monkeypatch.setattr(streaming.StreamingBatches.__init__, "__defaults__", (20,))
    monkeypatch.setattr(module, "first_block", lambda source: streaming.first_block(source, 20))
    return bool(request.param)


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_words_are_masked_whole(corpus_file: Path, streamed: bool, kind: str) -> None:
    size = 80 if kind == "wordpiece" else 300  # small enough for words of several pieces
    text = opened(corpus_file, streaming=streamed, tokenizer_kind=kind, whole_words=True, vocab_size=size)
    names = {number: piece for piece, number in text.tokenizer.get_vocab().items()}
    phase = text.phases[0]
    seen = 0
    for batch in (*islice(phase.train.batches_from(0), 10), *phase.validation, *phase.holdout):
        masked = set(batch.rows.tolist())
        tokens = batch.ids.reshape(-1).scatter(0, batch.rows, batch.labels).tolist()
        assert max(tokens) < text.vocabulary.size
        for place in range(2, 63):  # the first row
            piece = names[tokens[place]]
            begins = piece.startswith("\u0120") or (kind == "wordpiece" and not piece.startswith("##"))
            if not begins and tokens[place] > 4 and tokens[place - 1] > 4:
                seen += 1
                assert (place in masked) == (place - 1 in masked)
    assert seen > 50


def test_segments_of_batches_of_one_meet_others(corpus_file: Path, streamed: bool) -> None:
    text = opened(corpus_file, streaming=streamed, next_sentence=True)
    batches = islice(text.phases[0].train.batches_from(0), 60)
    orders = torch.cat([batch.order for batch in batches if batch.order is not None])
    assert len(orders) == 60
    assert 0.2 < orders.float().mean() < 0.8


def test_text_of_another_script_is_refused(corpus_file: Path, tmp_path: Path, streamed: bool) -> None:
    tokenizer = opened(corpus_file, tokenizer_kind="wordpiece").tokenizer
    greek = tmp_path / "greek.txt"
    greek.write_text("\n".join(["\u03b5\u03bd \u03b1\u03c1\u03c7\u03b7 abc"] * 600), encoding="utf-8")
    with pytest.raises(CorpusError, match=r"cannot spell \d\d\.\d% of its tokens"):
        opened(greek, tokenizer, streaming=streamed)


@pytest.mark.parametrize("line", [" ", "\t \u3000"])
def test_lines_of_spaces_have_no_tokens(tmp_path: Path, line: str) -> None:
    corpus = tmp_path / "blank.txt"
    corpus.write_text("\n".join([line] * 5000), encoding="utf-8")
    done = tiny.command("pretrain", "--corpus", corpus, "--backbone", "conv 3", "--out", tmp_path / "out")
    assert done.code == 2
    assert "blank.txt" in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
