"""The score of a candidate: of held-out text, of tasks, or of minimal pairs."""

from collections.abc import Callable, Sequence
from math import isfinite
from statistics import fmean

import torch

from autobert_zero.data.masking import MaskedBatch, Vocabulary
from autobert_zero.nn import MaskedLM
from autobert_zero.search.training_config import ProxyConfig
from autobert_zero.search_runs.start_model import StartModel
from autobert_zero.space import Backbone
from autobert_zero.training.goal import Goal, MaskedTokens
from autobert_zero.training.loop import Diverged
from autobert_zero.training.precision import Precision

OtherScores = Callable[[MaskedLM, int], dict[str, float]]
"""From a model and a seed to the model's scores by name, of tasks for example; leaves the weights as they
are."""

_OF_TEXT = ("loss", "accuracy")
"""Scores that are measured on held-out text."""


class Scorer:
    """Scores models, and knows what candidates minimise.

    Args:
        proxy: Names the score.
        vocabulary: The tokenizer's.
        validation: Batches of held-out text.
        seed: Seed of the other scores.
        device: Where a teacher computes.
        precision: Number format.
        others: From a model and a seed to its other scores, see `ProxyEvaluator`.
        start: The model that the search starts from, if it does.
    """

    def __init__(
        self,
        proxy: ProxyConfig,
        vocabulary: Vocabulary,
        validation: Sequence[MaskedBatch],
        seed: int,
        device: torch.device,
        precision: Precision,
        others: OtherScores | None,
        start: StartModel | None,
    ) -> None:
        self._proxy = proxy
        self._vocabulary = vocabulary
        self._validation = validation
        self._seed = seed
        self._device = device
        self._precision = precision
        self._others = others
        self._start = start
        self._goals: dict[int, Goal] = {}

    def score(self, model: MaskedLM, with_loss: bool) -> tuple[float, dict[str, float]]:
        """The score of a model as it is, and its metrics; the loss is among them where it is asked for."""
        kind, metrics = self._proxy.score, {}
        if with_loss or kind in _OF_TEXT:
            goal = self.goal(model.encoder.backbone)
            figures = goal.evaluate(goal.wrap(model), self._validation, None)
            loss = figures.pop("loss")
            if not isfinite(loss):
                raise Diverged(f"validation loss is {loss}")
            metrics = {"val_loss": loss, **figures}
            if kind in _OF_TEXT:
                return (-loss if kind == "loss" else metrics["mlm_accuracy"]), metrics
        assert self._others is not None
        scores = self._others(model, self._seed)
        return fmean(scores.values()), metrics | scores

    def goal(self, backbone: Backbone) -> Goal:
        """What candidates of a depth minimise, made once."""
        depth = len(backbone.layers)
        if depth not in self._goals:
            self._goals[depth] = (
                MaskedTokens(self._vocabulary, self._precision)
                if self._start is None
                else self._start.teacher.goal(depth, self._precision, self._device)
            )
        return self._goals[depth]
