"""The score of a candidate: of held-out text, of tasks, or of minimal pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from statistics import fmean

import torch
from tokenizers import Tokenizer

from autobert_zero.data.masking import MaskedBatch, Vocabulary
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.search.config import SearchConfig
from autobert_zero.search_runs.start_model import StartModel
from autobert_zero.space import Backbone
from autobert_zero.training.goal import Goal, MaskedTokens
from autobert_zero.training.loop import Diverged

OtherScores = Callable[[MaskedLM, int], dict[str, float]]
"""Returns the scores of a model by name, of tasks for example, for a seed; leaves the weights unchanged."""

_TEXT_SCORES = ("loss", "accuracy")
"""Scores that are measured on held-out text."""


@dataclass(frozen=True)
class Scorer:
    """Scores models, and holds the goals that candidates minimise.

    The score is the negative loss or the accuracy of masked tokens on held-out text, the mean over tasks, or
    the accuracy on minimal pairs. In a search from a model, candidates learn from that model, and the score
    is the negative distillation loss on held-out text.

    Attributes:
        config: Config of the search, which names the score.
        vocabulary: Vocabulary of the tokenizer.
        validation: Batches of held-out text.
        device: Device that a teacher computes on.
        others: Measures the scores that are not of held-out text; the score is their mean.
        start: The model that the search starts from, if any.
    """

    config: SearchConfig
    vocabulary: Vocabulary
    validation: Sequence[MaskedBatch]
    device: torch.device
    others: OtherScores | None
    start: StartModel | None
    _goals: dict[int, Goal] = field(default_factory=dict, init=False, repr=False)

    def score(self, model: MaskedLM, with_loss: bool) -> tuple[float, dict[str, float]]:
        """The score of a model as it is, and its metrics; with the loss among them if it is asked for.

        Raises:
            Diverged: The loss is not finite.
        """
        kind, metrics = self.config.proxy.score, {}
        if with_loss or kind in _TEXT_SCORES:
            goal = self.goal(model.encoder.backbone)
            figures = goal.evaluate(goal.wrap(model), self.validation, None)
            loss = figures.pop("loss")
            if not isfinite(loss):
                raise Diverged(f"validation loss is {loss}")
            metrics = {"val_loss": loss, **figures}
            if kind in _TEXT_SCORES:
                return (-loss if kind == "loss" else metrics["mlm_accuracy"]), metrics
        assert self.others is not None
        scores = self.others(model, self.config.seed)
        return fmean(scores.values()), metrics | scores

    def goal(self, backbone: Backbone) -> Goal:
        """The goal of candidates of a depth, made once."""
        depth, precision = len(backbone.layers), self.config.precision
        if depth not in self._goals:
            self._goals[depth] = (
                MaskedTokens(self.vocabulary, precision)
                if self.start is None
                else self.start.teacher.goal(depth, precision, self.device)
            )
        return self._goals[depth]


def other_scores(
    config: SearchConfig, tokenizer: Tokenizer, sizes: EncoderConfig, device: torch.device
) -> OtherScores | None:
    """Measures tasks (with the extra `finetune`) or minimal pairs (`hf`), where the config scores by them."""
    proxy = config.proxy
    if proxy.score == "minimal_pairs":
        from autobert_zero.minimal_pairs.proxy import PairScores

        pairs = proxy.minimal_pairs
        assert pairs.data is not None  # the config is checked
        limit = sizes.length_limit
        return PairScores(
            Path(pairs.data), pairs.pairs, tokenizer, limit, pairs.within_word, config.precision
        )
    if proxy.score == "tasks":
        from autobert_zero.finetune.config import FinetuneConfig
        from autobert_zero.finetune.proxy import TaskScores

        tasks, length = proxy.tasks, config.data.length
        settings = FinetuneConfig(
            batch_size=tasks.batch_size,
            length=length,
            steps=tasks.steps,
            patience=tasks.steps,  # the same updates for every candidate
            precision=config.precision,
            device=str(device),
        )
        folder = None if tasks.data is None else Path(tasks.data)
        return TaskScores(tasks.names, folder, tokenizer, length, settings, tasks.learning_rate)
    return None
