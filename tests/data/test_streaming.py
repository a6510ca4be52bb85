"""Streamed corpora that are too short for a batch."""

from pathlib import Path

import pytest
import tiny

from autobert_zero.data.corpus import CorpusError, open_corpus
from autobert_zero.data.masking import Masking, Vocabulary
from autobert_zero.data.streaming import StreamingBatches
from autobert_zero.data.tokenizer import corpus_tokenizer


@pytest.mark.parametrize("count", [20, 25])
def test_too_little_text_after_the_first_block_is_said(tmp_path: Path, count: int) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(tiny.paragraphs(count)) + "\n")
    tokenizer = corpus_tokenizer(open_corpus(str(path)), 200, lambda done, of: None)
    batches = StreamingBatches(
        str(path), tokenizer, Vocabulary.of(tokenizer), 16, 64, (0,), Masking(), block=20
    )
    with pytest.raises(CorpusError, match="has not enough text after its first 20 paragraphs"):
        next(batches.starting(0))
