"""Tokenised examples and their batches for the training loop."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from autobert_zero.errors import UserError
from autobert_zero.training.loop import Objective
from autobert_zero.training.precision import Precision, autocast
from autobert_zero.training.transfer import to_device

_POOL = 50
"""Number of batches that are sorted by length together, to reduce padding."""

NO_LABEL = -100
"""The target of a token without a label, as the losses of `transformers` take it."""

Feature = Mapping[str, Any]
"""The tokenizer's output for a text, and the targets: integers or floats under the model's names."""


@dataclass(frozen=True)
class Features:
    """The features of a split.

    Attributes:
        rows: The features, in order.
        targets: Names of the targets among them.
        tokenizer: Tokenizer that pads the batches; on the right, if tokens have targets.
    """

    rows: Sequence[Feature]
    targets: tuple[str, ...]
    tokenizer: PreTrainedTokenizerBase

    def __len__(self) -> int:
        return len(self.rows)

    def length(self, index: int) -> int:
        """Number of tokens of a feature."""
        return len(self.rows[index]["input_ids"])

    def batch(self, indices: Sequence[int]) -> "FeatureBatch":
        """The features at these indices, padded to the longest of them."""
        names = self.tokenizer.model_input_names
        rows = [{name: self.rows[index][name] for name in names} for index in indices]
        inputs = dict(self.tokenizer.pad(rows, return_tensors="pt"))
        targets = {
            name: _stacked([self.rows[index][name] for index in indices], inputs["input_ids"].shape[1])
            for name in self.targets
        }
        return FeatureBatch(inputs, targets)


@dataclass(frozen=True)
class FeatureBatch:
    """A padded batch.

    Attributes:
        inputs: Inputs (B, n) by the names of the model's arguments.
        targets: Targets likewise: (B,), or (B, n) for tokens, with `NO_LABEL` at padding.
    """

    inputs: dict[str, Tensor]
    targets: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])

    def slice(self, start: int, stop: int) -> "FeatureBatch":
        """The sequences from `start` up to, but not including, `stop`."""
        inputs, targets = (
            {name: tensor[start:stop] for name, tensor in tensors.items()}
            for tensors in (self.inputs, self.targets)
        )
        return FeatureBatch(inputs, targets)


def _stacked(targets: Sequence[Any], length: int) -> Tensor:
    """The targets of a batch: (B,), or (B, n) if each token has one."""
    if not isinstance(targets[0], list):
        return torch.tensor(targets)
    return torch.tensor([labels + [NO_LABEL] * (length - len(labels)) for labels in targets])


def room_for_text(tokenizer: PreTrainedTokenizerBase, length: int, texts: int = 1) -> int:
    """The number of tokens in a sequence besides the special ones, at least one for each text.

    Args:
        tokenizer: Tokenizer of the model.
        length: Maximum number of tokens.
        texts: Number of texts in a sequence, 1 or 2.

    Raises:
        UserError: There are fewer.
    """
    room = length - tokenizer.num_special_tokens_to_add(pair=texts == 2)
    if room < texts:
        raise UserError(f"a length of {length} leaves no room for words besides the special tokens; raise it")
    return room


def encode_texts(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    length: int | None,
) -> tuple[list[dict[str, Any]], int]:
    """Tokenises texts, or pairs of texts.

    A text without any token, such as an empty one without special tokens (GPT-2), becomes one padding token
    that is not masked, since models compute nothing from nothing.

    Args:
        tokenizer: Tokenizer of the model.
        texts: The first or only texts.
        pairs: The second texts, if any.
        length: Maximum number of tokens; longer texts are cut, the longer of a pair first. None: no limit.

    Returns:
        A feature for each text, and the number of texts that were cut.

    Raises:
        UserError: The length leaves no room for text.
    """
    if length is not None:
        room_for_text(tokenizer, length, 1 if pairs is None else 2)
    encoded = tokenizer(
        list(texts), None if pairs is None else list(pairs), truncation=length is not None, max_length=length
    )
    cut = sum(bool(encoding.overflowing) for encoding in encoded.encodings or ())
    rows = [dict(zip(encoded, values, strict=True)) for values in zip(*encoded.values(), strict=True)]
    filler = {"input_ids": tokenizer.pad_token_id, "attention_mask": 1}
    return [row if row["input_ids"] else {name: [filler.get(name, 0)] for name in row} for row in rows], cut


def feature_batches(features: Features, size: int, seed: int, step: int) -> Iterator[FeatureBatch]:
    """Yields endless batches of similar length, in an order given by the seed.

    Args:
        features: The features, at least one.
        size: B; the last batch of an epoch may be smaller.
        seed: Seed of the order of every epoch.
        step: Number of the first batch, from 0.
    """
    per_epoch = -(-len(features) // size)
    while True:
        epoch, skip = divmod(step, per_epoch)
        random = np.random.default_rng((seed, epoch))
        order = random.permutation(len(features))
        pools = [order[start : start + _POOL * size] for start in range(0, len(order), _POOL * size)]
        batches = []
        for pool in pools:
            # The shuffled order breaks ties, so that equal lengths form other batches in every epoch.
            ordered = sorted(pool.tolist(), key=features.length)
            batches += [ordered[start : start + size] for start in range(0, len(ordered), size)]
        for number in random.permutation(len(batches))[skip:]:
            yield features.batch(batches[number])
        step = (epoch + 1) * per_epoch


def task_objective(precision: Precision) -> Objective[FeatureBatch]:
    """The loss of a model of `transformers`: the mean over the sequences of a batch."""

    def objective(model: nn.Module, micro_batch: FeatureBatch, batch: FeatureBatch) -> Tensor:
        device = next(model.parameters()).device
        given = to_device(without_idle_mask(micro_batch.inputs, device) | micro_batch.targets, device)
        with autocast(precision, device):
            loss: Tensor = model(**given).loss
        return loss.float() * (len(micro_batch) / len(batch))

    return objective


def without_idle_mask(inputs: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Drops the mask of a batch without padding on a GPU, where flash attention takes no mask.

    Args:
        inputs: Inputs on the CPU, where reading the mask does not wait for the device.
        device: Device of the model; on a CPU the mask is kept, since other kernels round differently.
    """
    mask = inputs.get("attention_mask")
    idle = mask is not None and device.type != "cpu" and bool(mask.all())
    return {name: tensor for name, tensor in inputs.items() if not (idle and name == "attention_mask")}


def outputs(
    model: nn.Module, features: Features, size: int, names: Sequence[str], precision: Precision
) -> list[list[np.ndarray[Any, Any]]]:
    """The outputs of a model for each feature, in order.

    Args:
        model: A model of `transformers`.
        features: The features.
        size: Sequences in a batch.
        names: Names of the outputs.
        precision: Number format.

    Returns:
        For each name one array per feature; arrays with an axis of tokens may be padded.
    """

    def named(output: Any, inputs: Mapping[str, Tensor]) -> list[tuple[Any, ...]]:
        return list(zip(*(output[name].float().cpu().numpy() for name in names), strict=True))

    results = run_model(model, features, size, precision, named)
    return [[result[index] for result in results] for index in range(len(names))]


@torch.inference_mode()
def run_model(
    model: nn.Module,
    features: Features,
    size: int,
    precision: Precision,
    reduce: Callable[[Any, Mapping[str, Tensor]], Sequence[Any]],
    token_limit: int | None = None,
    on_batch: Callable[[int], None] = lambda done: None,
) -> list[Any]:
    """Runs a model over features, shortest first, and reduces its outputs to a result for each.

    Args:
        model: A model of `transformers`.
        features: The features.
        size: Maximum number of sequences in a batch.
        precision: Number format.
        reduce: Called with the output for a batch and its inputs (B, n); returns a result per sequence.
        token_limit: Maximum number of tokens in a batch, padding included; one sequence may have more.
        on_batch: Called with the number of features done.

    Returns:
        The results in the order of the features.
    """
    model.eval()
    device = next(model.parameters()).device
    results: list[Any] = [None] * len(features)
    done = 0
    for indices in _by_length(features, size, token_limit):
        given = features.batch(indices).inputs
        inputs = to_device(given, device)
        with autocast(precision, device):
            output = model(**{name: inputs[name] for name in without_idle_mask(given, device)})
        for index, result in zip(indices, reduce(output, inputs), strict=True):
            results[index] = result
        done += len(indices)
        on_batch(done)
    return results


def _by_length(features: Features, size: int, token_limit: int | None) -> Iterator[list[int]]:
    """The indices of the features in batches of similar length."""
    batch: list[int] = []
    for place in sorted(range(len(features)), key=features.length):
        # The longest of a batch is its last.
        tokens = (len(batch) + 1) * features.length(place)
        if batch and (len(batch) == size or (token_limit is not None and tokens > token_limit)):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
