"""Loss and accuracy of a language model on masked tokens and on the order of segments."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autobert_zero.data.masking import MaskedBatch
from autobert_zero.errors import UserError
from autobert_zero.nn.documents import layout, mark_counts
from autobert_zero.training.cross_entropy import token_cross_entropy
from autobert_zero.training.half_weights import is_compiled, run
from autobert_zero.training.loop import Objective
from autobert_zero.training.precision import Precision
from autobert_zero.training.transfer import to_device

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Evaluation:
    """Quality on held-out text.

    Attributes:
        loss: Mean cross-entropy of the masked tokens, in nats.
        accuracy: Share of the masked tokens whose best prediction is right.
        order_accuracy: Share of the pairs of segments classified correctly; None without segments.
    """

    loss: float
    accuracy: float
    order_accuracy: float | None = None


def language_objective(precision: Precision) -> Objective[MaskedBatch]:
    """BERT's loss: the mean over the masked tokens, plus, with segments, the mean over the pairs."""

    def objective(model: nn.Module, micro_batch: MaskedBatch, batch: MaskedBatch) -> Tensor:
        logits, order, labels, wanted = _predict(model, micro_batch, precision)
        # A batch may have nothing to predict: its loss is 0.
        loss = token_cross_entropy(logits, labels, max(len(batch.labels), 1))
        if order is not None and wanted is not None:
            loss = loss + F.cross_entropy(order.float(), wanted, reduction="sum") / len(batch)
        return loss

    return objective


def guess_limit(vocabulary: int) -> float:
    """The loss above which a training has diverged: twice that of a uniform guess."""
    return 2 * math.log(vocabulary)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Sequence[MaskedBatch],
    precision: Precision,
    accelerator: "Accelerator | None" = None,
) -> Evaluation:
    """Measures a model on masked batches; every masked token counts the same.

    Args:
        model: The model on its device; with an accelerator, prepared by it.
        batches: The batches, the same in every process.
        precision: Number format.
        accelerator: Divides the sequences of each batch over processes, all of which return the figures of
            the whole; None for a single process.

    Raises:
        UserError: The batches have no token to predict.
    """
    model.eval()
    losses, correct = [], []  # read at the end, so that the host does not wait for the device
    count, pairs = 0, 0
    for batch in batches:
        logits, order, labels, wanted = _predict(model, _share(batch, accelerator), precision)
        losses.append(F.cross_entropy(logits.float(), labels, reduction="sum"))
        hits = (logits.argmax(-1) == labels).sum()
        count += len(labels)
        if order is not None and wanted is not None:
            correct.append(torch.stack([hits, (order.argmax(-1) == wanted).sum()]))
            pairs += len(wanted)
        else:
            correct.append(torch.stack([hits, torch.zeros_like(hits)]))
    loss: float = sum(torch.stack(losses).tolist()) if batches else 0.0
    right, ordered = torch.stack(correct).sum(0).tolist() if batches else (0, 0)
    if accelerator is not None:
        sums = torch.tensor(
            [loss, right, count, ordered, pairs], dtype=torch.float64, device=accelerator.device
        )
        loss, right, count, ordered, pairs = accelerator.reduce(sums, "sum").tolist()
    if not count:
        raise UserError(
            "the held-out text has no token to predict, only [UNK]; use more text, or another tokenizer"
        )
    return Evaluation(loss / count, right / count, ordered / pairs if pairs else None)


def _share(batch: MaskedBatch, accelerator: "Accelerator | None") -> MaskedBatch:
    """This process's sequences of a batch.

    A process without any gets the first one, with nothing to predict: with FSDP every process has to compute
    whenever one does.
    """
    if accelerator is None:
        return batch
    rank, processes = accelerator.process_index, accelerator.num_processes
    start, stop = len(batch) * rank // processes, len(batch) * (rank + 1) // processes
    if start == stop:
        first = batch.slice(0, 1)
        return replace(first, rows=first.rows[:0], labels=first.labels[:0], order=None)
    return batch.slice(start, stop)


def _predict(
    model: nn.Module, batch: MaskedBatch, precision: Precision
) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
    """Logits of the masked tokens and of the order of segments, with the labels of both."""
    device = next(model.parameters()).device
    positions = documents = None
    if batch.starts is not None:
        fixed = is_compiled(model)
        positions, documents = to_device(layout(batch.starts, fixed), device)
        if fixed:
            mark_counts(documents)
    # All copies before the model runs: one after it would wait for it.
    batch = to_device(replace(batch, starts=None), device)
    output = run(model, precision, batch.ids, batch.rows, None, batch.segments, positions, documents)
    logits, order = output if isinstance(output, tuple) else (output, None)
    return logits, order, batch.labels, batch.order
