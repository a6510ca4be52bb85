"""The first lines of a long command: its inputs, and an estimate of its time."""

from collections.abc import Sequence

import torch

from autobert_zero.data.corpus import Corpus
from autobert_zero.data.prepare import PreparedSplits
from autobert_zero.data.tokenizer import ChosenTokenizer
from autobert_zero.devices import describe_device
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import counted
from autobert_zero.estimate import TrainingStage, estimate_stages, uncompiled
from autobert_zero.progress import duration
from autobert_zero.training.precision import Precision, resolve_precision


def text_line(corpus: Corpus, data: PreparedSplits, chosen: ChosenTokenizer) -> str:
    """The prepared text: what was read, tokens, sequences of each split, tokenizer, unknown tokens."""
    splits = data.splits
    counts = [len(split) for split in (splits.train, splits.validation, splits.holdout)]
    length = splits.train.take(slice(0, 1)).shape[1]
    return (
        f"corpus {corpus.name}: {counted(len(corpus.paragraphs), 'document')}, "
        f"{sum(counts) * length:,} tokens in sequences of {length} "
        f"({counts[0]:,} for training, {counts[1]:,} for validation, {counts[2]:,} held out); "
        f"read: {corpus.account}; {_tokenizer_line(chosen, data.unknown_share)}"
    )


def streamed_line(corpus: Corpus, chosen: ChosenTokenizer, unknown_share: float) -> str:
    """The first block of streamed text, which is all that is known of it at the start."""
    return (
        f"corpus {corpus.name}: streamed; the first {len(corpus.paragraphs):,} documents are held out; "
        f"read of them: {corpus.account}; "
        f"{_tokenizer_line(chosen, unknown_share)}"
    )


def _tokenizer_line(chosen: ChosenTokenizer, unknown_share: float) -> str:
    size = chosen.tokenizer.get_vocab_size()
    return f"tokenizer {chosen.reason}; {unknown_share:.2%} [UNK]; vocabulary of {size:,} tokens"


def machine_line(device: torch.device, precision: Precision) -> str:
    """The device and the number format of the trainings."""
    return f"device {describe_device(device)}; precision {resolve_precision(precision, device)}"


def model_line(layers: int, sizes: EncoderConfig) -> str:
    """The sizes of the models, and where their trunk is not BERT's."""
    trunk = f", {sizes.trunk_changes}" if sizes.trunk_changes else ""
    return (
        f"model of {counted(layers, 'layer')}, width {sizes.width}, {counted(sizes.heads, 'head')}, "
        f"feed-forward {sizes.inner}, sequences of up to {sizes.max_positions} tokens{trunk}"
    )


def estimate_line(
    stages: Sequence[TrainingStage], sizes: EncoderConfig, precision: Precision, device: torch.device
) -> str:
    """The estimated time of the trainings, from a few measured steps."""
    estimates = estimate_stages(stages, sizes, precision, device)
    seconds = sum(estimate.seconds for estimate in estimates)
    steps = min(estimate.speed.steps for estimate in estimates)
    memory = max((estimate.speed.memory or 0) for estimate in estimates)
    needed = f", {memory / 1e9:.2f} GB of memory" if memory else ""
    tokens = sum(stage.tokens for stage in stages)
    return (
        f"estimate: {tokens:,} tokens, about {duration(seconds)} of training{needed} "
        f"({steps} steps measured here{uncompiled(stages)})"
    )
