"""Trains and scores candidates, from shared or from new weights."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

import torch

from autobert_zero.data.batches import TrainingBatches
from autobert_zero.data.masking import MaskedBatch
from autobert_zero.data.splits import Splits
from autobert_zero.devices import out_of_memory, release_cached_memory, threads
from autobert_zero.errors import first_line
from autobert_zero.measure import training_memory
from autobert_zero.nn import EncoderConfig, MaskedLM, NoSharing, Trained, WeightBank
from autobert_zero.nn.teacher_bank import TeacherBank
from autobert_zero.nn.update_counts import shortfall
from autobert_zero.search.fair_sharing import Rotation
from autobert_zero.search.rungs import rung_metric, rung_steps
from autobert_zero.search.trial import Outcome, Proposal, Status
from autobert_zero.search_runs.candidate_limits import (
    OnProgress,
    OverLimit,
    offset_progress,
    within_memory,
    within_time,
)
from autobert_zero.search_runs.scoring import Scorer
from autobert_zero.space import Backbone, Space, sample_backbone
from autobert_zero.training.loop import Diverged, OnStep, Recipe, make_optimizer, train

_WARMUP_SEGMENT = 10
"""Steps that one backbone trains in the warm-up."""

_WARMUP_OF_NEW = 0.05
"""Share of a candidate's steps in which the rate of new weights rises."""

WORST = -1e9
"""The new score of a candidate whose loss is no longer finite."""


class ProxyEvaluator:
    """Trains candidates for a few steps, from the shared weights or from new ones, and scores them.

    The outcomes are a function of the seed, the numbers of the proposals and the bank.

    Args:
        model: Sizes of the candidates.
        layers: Depth of the candidates.
        data: The splits; candidates train on `train`.
        scorer: Scores candidates on its device, and knows the config, what they minimise, and the model that
            the search starts from.
    """

    def __init__(self, model: EncoderConfig, layers: int, data: Splits, scorer: Scorer) -> None:
        self.model = model
        self._data = data
        self._scorer = scorer
        self._config, self._device, self._start = scorer.config, scorer.device, scorer.start
        self._proxy, self._seed = self._config.proxy, self._config.seed
        torch.manual_seed(self._seed)
        self.bank: WeightBank | NoSharing
        if (start := self._start) is not None:
            self.bank = TeacherBank(model, start.backbone, start.student_weights, self._device)
        else:
            self.bank = WeightBank(model, layers, self._device) if self._shares else NoSharing()

    def warm_up(self, space: Space, on_step: OnProgress) -> None:
        """Trains backbones in turn, so that the first candidates do not start from noise.

        In a space with known backbones they train all kinds of layers equally long; else they are random. In
        a search from a model, what the model lacks learns to copy its layers instead.
        """
        if isinstance(self.bank, TeacherBank) and self._start is not None:
            batches = self._batches(0)
            self._start.copy_layers(self.bank, space, batches, self._config, self._device, on_step)
        if not self._shares:
            return
        steps = self._proxy.warmup_steps
        random = Random(f"{self._seed} warm-up")
        space = replace(space, attention_share=self._proxy.warmup_attention_share)
        batches = self._batches(0)
        rotation = Rotation(space, random) if space.known else None
        for start in range(0, steps, _WARMUP_SEGMENT):
            drawn = sample_backbone(random, space).canonical() if rotation is None else rotation.draw()
            # The rate rises once, in the first segment: the optimiser's state goes on from there.
            recipe = self._recipe(min(_WARMUP_SEGMENT, steps - start), warmup=0.0 if start else 0.9)
            model, optimizer = self._inherited(drawn, recipe)
            try:
                self._train(model, batches, recipe, offset_progress(on_step, start, steps), optimizer)
            except Diverged:
                continue  # a random backbone may; its weights are dropped as a candidate's would be
            self.bank.absorb(Trained.of(model, optimizer))
            if rotation is not None:
                rotation.trained(recipe.steps)

    def evaluate(
        self,
        proposal: Proposal,
        thresholds: Sequence[float] = (),
        on_step: OnProgress = lambda done, total, loss: None,
    ) -> tuple[Outcome, Trained | None]:
        """Inherits, trains and scores; the shared weights stay as they are.

        Args:
            proposal: The candidate.
            thresholds: Scores that it has to reach at each rung to be trained on; missing ones let it pass.
                A backbone that the search was given passes every rung: its score has to be one that others
                can be compared with, and attention is on the plateau of unigram statistics at early rungs.
            on_step: Called with the progress.

        Returns:
            The outcome, and what the bank is to absorb; None if the candidate diverged or failed, or no
            weights are shared.
        """
        start = time.perf_counter()
        # New weights are paired: all candidates have the same seed and batches, and differ less by luck.
        stream = proposal.number if self._shares else 0
        torch.manual_seed(self._seed * 1_000_003 + stream)

        def ended(status: Status, reason: str) -> tuple[Outcome, None]:
            return Outcome(status, reason=reason, seconds=time.perf_counter() - start), None

        limit = self._proxy.max_memory_gb
        if limit is not None and self._device.type == "cuda":
            on_step = self._in_memory(limit, on_step)
        elif limit is not None and (needed := self._memory(proposal.backbone) / 1e9) > limit:
            return ended(Status.FAILED, f"would take {needed:.3g} GB of memory, more than {limit:.3g}")
        extra = self._calibration(proposal.backbone)
        on_step = within_time(self._proxy.max_seconds, start, on_step)
        watch = offset_progress(on_step, 0, extra + self._proxy.steps)
        with threads(1 if self._proxy.together > 1 and self._device.type == "cpu" else None):
            try:
                passed = () if proposal.given else thresholds
                outcome, trained = self._climb(proposal.backbone, stream, passed, extra, watch)
            except Diverged as error:
                return ended(Status.DIVERGED, str(error))
            except OverLimit as error:
                return ended(Status.FAILED, str(error))
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                outcome, trained = ended(Status.FAILED, f"out of memory: {first_line(error)}")
        if outcome.status is Status.FAILED:  # the error, which kept the model, is gone
            release_cached_memory()
        return replace(outcome, seconds=time.perf_counter() - start), trained

    def _climb(
        self, backbone: Backbone, stream: int, thresholds: Sequence[float], extra: int, on_step: OnStep
    ) -> tuple[Outcome, Trained | None]:
        """Trains the extra steps, then from rung to rung while the candidate reaches the thresholds."""
        # Shared weights go on at the rate where they are; new ones need a rise.
        warmup = 0.0 if self._shares else _WARMUP_OF_NEW
        recipe = self._recipe(extra + self._proxy.steps, warmup)
        model, optimizer = self._inherited(backbone, recipe)
        batches = self._batches(stream + 1)
        done, rungs = 0, {"calibration": float(extra)} if extra else {}
        for index, rung in enumerate(rung_steps(self._proxy)):
            self._train(model, batches, recipe, on_step, optimizer, range(done, extra + rung))
            done = extra + rung
            score, _ = self._scorer.score(model, with_loss=False)
            rungs[rung_metric(rung)] = score
            if index < len(thresholds) and score < thresholds[index]:
                reason = f"{score:.4f} after {rung} steps, below {thresholds[index]:.4f}"
                return Outcome(Status.PRUNED, reason=reason, metrics=rungs), self._learned(model, optimizer)
        self._train(model, batches, recipe, on_step, optimizer, range(done, recipe.steps))
        score, metrics = self._scorer.score(model, with_loss=True)
        return Outcome(Status.COMPLETE, score, metrics=rungs | metrics), self._learned(model, optimizer)

    @property
    def _shares(self) -> bool:
        return self._proxy.sharing == "biws"

    def _calibration(self, backbone: Backbone) -> int:
        """Number of extra steps for a candidate whose branches were trained less than others."""
        if not (self._shares and isinstance(self.bank, WeightBank)):
            return 0
        return round(
            self._proxy.calibration * self._proxy.steps * shortfall(self.bank.update_counts, backbone)
        )

    def _learned(self, model: MaskedLM, optimizer: torch.optim.Optimizer) -> Trained | None:
        """The trained weights for the bank to absorb; None if no weights are shared."""
        return Trained.of(model, optimizer) if self._shares else None

    def _memory(self, backbone: Backbone) -> int:
        length = self._data.train.take(slice(0, 1)).shape[1]
        return training_memory(backbone, self.model, self._proxy.batch_size, length)

    def _in_memory(self, limit: float, on_step: OnProgress) -> OnProgress:
        if self._start is not None:
            self._start.teacher.model.to(self._device)  # its memory is no candidate's
        return within_memory(limit, self._device, on_step)

    def rescore(self, backbones: Sequence[Backbone]) -> list[float]:
        """Scores backbones with the current bank, without training it."""
        scores = []
        for backbone in backbones:
            model = self._new(backbone)
            self.bank.inherit(model)
            try:
                scores.append(self._scorer.score(model, with_loss=False)[0])
            except Diverged:
                scores.append(WORST)
        return scores

    def _train(
        self,
        model: MaskedLM,
        batches: Iterator[MaskedBatch],
        recipe: Recipe,
        on_step: OnStep,
        optimizer: torch.optim.Optimizer,
        steps: range | None = None,
    ) -> None:
        goal = self._scorer.goal(model.encoder.backbone)
        trained, objective, limit = goal.wrap(model), goal.objective(), goal.loss_limit
        train(trained, batches, recipe, objective, on_step, optimizer, steps=steps, loss_limit=limit)

    def _inherited(self, backbone: Backbone, recipe: Recipe) -> tuple[MaskedLM, torch.optim.Optimizer]:
        """The candidate and its optimiser, which continue from the state of the bank."""
        model = self._new(backbone)
        optimizer = make_optimizer(model, recipe)
        self.bank.inherit(model, optimizer)
        return model, optimizer

    def _new(self, backbone: Backbone) -> MaskedLM:
        """A candidate before it inherits; weights are drawn only if the draws affect a result."""
        seeds_dropout = self._device.type == "cpu" and self.model.dropout > 0
        if isinstance(self.bank, NoSharing) or seeds_dropout:
            return MaskedLM(backbone, self.model).to(self._device)
        with torch.device("meta"):
            model = MaskedLM(backbone, self.model)
        return model.to_empty(device=self._device)

    def _recipe(self, steps: int, warmup: float = 0.0) -> Recipe:
        proxy = self._proxy
        return Recipe(
            steps,
            proxy.batch_size,
            proxy.learning_rate,
            warmup,
            decay=False,
            precision=self._config.precision,
            # Models are not compiled (that takes longer than a candidate), nor is a teacher's step captured.
            compile=self._config.compile if self._start is None else "off",
        )

    def _batches(self, stream: int) -> Iterator[MaskedBatch]:
        seed, size = (self._seed, stream), self._proxy.batch_size
        masking = None if self._start is None else self._start.masking
        return TrainingBatches(self._data.train, self._scorer.vocabulary, size, seed, masking).batches_from(0)
