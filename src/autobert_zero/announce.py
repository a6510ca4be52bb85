"""The first lines of a command that takes long: what it works on, and how long it will take."""

from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer

from autobert_zero.data.corpus import Corpus
from autobert_zero.data.packing import Part as Rows
from autobert_zero.data.packing import Splits
from autobert_zero.devices import describe_device
from autobert_zero.encoder_config import TRUNK, EncoderConfig
from autobert_zero.estimate import MEASURED_STEPS, Part, training_seconds
from autobert_zero.progress import duration
from autobert_zero.training.precision import Precision, resolve

_COUNTED = 4096
"""Sequences, spread over the training text, in which unknown tokens are counted."""


def text_line(corpus: Corpus, splits: Splits, tokenizer: Tokenizer) -> str:
    """The prepared text: documents, tokens, sequences of each split, unknown tokens, vocabulary."""
    counts = [len(part) for part in (splits.train, splits.validation, splits.holdout)]
    length = splits.train.take(slice(0, 1)).shape[1]
    share = unknown_share(splits.train, tokenizer.token_to_id("[UNK]"))
    return (
        f"corpus {corpus.name}: {len(corpus.paragraphs):,} documents, {sum(counts) * length:,} tokens in "
        f"sequences of {length} ({counts[0]:,} for training, {counts[1]:,} for validation, {counts[2]:,} "
        f"held out), {share:.2%} [UNK]; vocabulary of {tokenizer.get_vocab_size():,} tokens"
    )


def streamed_line(corpus: Corpus, tokenizer: Tokenizer) -> str:
    """The first block of streamed text, which is all that is known of it at the start."""
    return (
        f"corpus {corpus.name}: streamed; the first {len(corpus.paragraphs):,} documents are held out; "
        f"vocabulary of {tokenizer.get_vocab_size():,} tokens"
    )


def unknown_share(rows: Rows, unknown: int | None) -> float:
    """The share of unknown tokens among all but the first and last of each sequence.

    Args:
        rows: Sequences; where there are many, some of them are counted.
        unknown: Id of `[UNK]`; None where the tokenizer has none.
    """
    if unknown is None:
        return 0.0
    chosen = np.linspace(0, len(rows) - 1, min(len(rows), _COUNTED), dtype=np.int64)
    return float((rows.take(chosen)[:, 1:-1] == unknown).mean())


def machine_line(device: torch.device, precision: Precision) -> str:
    """Where the models are trained, and in which number format."""
    return f"device {describe_device(device)}; precision {resolve(precision, device)}"


def model_line(layers: int, sizes: EncoderConfig) -> str:
    """The sizes of the models, and where their trunk is not BERT's."""
    default = EncoderConfig(sizes.vocab_size)
    trunk = [
        f", {name.replace('_', ' ')} {getattr(sizes, name)}"
        for name in TRUNK
        if getattr(sizes, name) != getattr(default, name)
    ]
    return (
        f"model of {layers} layers, width {sizes.width}, {sizes.heads} heads, feed-forward {sizes.inner}, "
        f"sequences of up to {sizes.max_positions} tokens{''.join(trunk)}"
    )


def estimate_line(
    parts: Sequence[Part], sizes: EncoderConfig, precision: Precision, device: torch.device
) -> str:
    """How long the training will take, from a few measured steps."""
    seconds = sum(training_seconds(parts, sizes, precision, device))
    tokens = sum(part.tokens for part in parts)
    return (
        f"estimate: {tokens:,} tokens, about {duration(seconds)} of training "
        f"({MEASURED_STEPS} steps measured here)"
    )
