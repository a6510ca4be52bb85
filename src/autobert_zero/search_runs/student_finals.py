"""The end of a search from a model: distils the finalists, then the winner alongside its opponents."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from autobert_zero import cost
from autobert_zero.nn import MaskedLM
from autobert_zero.nn.teacher_bank import TeacherBank
from autobert_zero.progress import Reporter
from autobert_zero.search.board import Board
from autobert_zero.search.comparison import Model, Train, Training, best_rates, lowest
from autobert_zero.search.finalists import screen
from autobert_zero.search.limits import ROUNDING, Limits
from autobert_zero.search.student_outputs import NARROW_LAYERS
from autobert_zero.search.trial import Trial
from autobert_zero.search_runs.prepare import PreparedSearch
from autobert_zero.search_runs.proxy_evaluator import ProxyEvaluator
from autobert_zero.search_runs.student_training import StudentTrainer, Weights
from autobert_zero.space import Backbone
from autobert_zero.zoo import students

_SEEDS = 2**29
"""Number of seeds of the reported distillations; those of the screening differ, see `screen`."""

_FIRST_HALF = "first-half"
"""The opponent with weights of its own, whose formulas keep the teacher's letters."""


class StudentFinals:
    """Distils students from the shared weights.

    Args:
        prepared: The prepared run.
        out: The run folder.
        progress: Shows the progress.
        limits: Limits of the run, which measure latency.
        evaluator: Holds the shared weights, once the search has started.
    """

    def __init__(
        self,
        prepared: PreparedSearch,
        out: Path,
        progress: Reporter,
        limits: Limits,
        evaluator: ProxyEvaluator,
    ) -> None:
        assert prepared.start is not None
        assert isinstance(evaluator.bank, TeacherBank)
        self._prepared = prepared
        self._start = prepared.start
        self._bank = evaluator.bank
        self._limits = limits
        self._narrow = limits.costs
        self._whole = limits.teacher_costs or limits.costs
        self._trainer = StudentTrainer(prepared, out, progress)

    def log(self, board: Board | None) -> None:
        """Sets the TensorBoard logs for later results."""
        self._trainer.board = board

    def run(self, trials: Sequence[Trial]) -> dict[str, Any]:
        """Screens the best candidates, then distils the winner alongside its opponents.

        Returns:
            For each model, by name, its backbone, costs, rate and results, and whether it is fast enough, see
            `opponents`; the costs of the teacher; under `found_again` the opponents that are the
            winner itself; under `strongest` the other opponent with the lowest held-out loss among those
            within the latency, None without any; the screening.

        Raises:
            UserError: No candidate was scored, or every finalist diverged.
        """
        seed = self._prepared.config.seed % _SEEDS
        config = self._prepared.config
        winner, screening = screen(
            trials, config.proxy, config.final, self._prepared.model, seed + _SEEDS, self._train(self._shared)
        )
        best = winner.proposal.backbone
        models = {"best": Model(best, self._narrow.sizes), **self.opponents(best)}
        limit = self._limit(best)
        rows: dict[str, dict[str, Any]] = {}
        same: dict[tuple[str, int], str] = {}
        again = []
        for name, model in models.items():
            student = (model.backbone.key(), model.sizes.inner)
            first = name if name == _FIRST_HALF else same.setdefault(student, name)
            if first != name:  # the same student from the same weights
                rows[name] = dict(rows[first])
                again += [name] if first == "best" else []
                continue
            costs = self._costs(model)
            rows[name] = {
                **costs,
                **self._distilled(name, model, seed),
                "within_latency": costs["latency_ms"] <= limit,
            }
        rows["best"]["trial"] = winner.proposal.number
        losses = {
            name: row["val_loss"]
            for name, row in rows.items()
            if name not in ("best", *again) and row["within_latency"]
        }
        teacher = {"model": self._start.teacher.name, **self._costs(self._teacher)}
        return {
            **rows,
            "teacher": teacher,
            "found_again": again,
            "strongest": lowest(losses),
            "screening": screening,
        }

    def opponents(self, best: Backbone) -> dict[str, Model]:
        """The opponents of the winner, by name.

        Every second layer of the teacher, and the first half of its layers, whatever their latency; its
        layers evenly, the hand-made hybrid and convolutions only, as deep as the search's limit of latency
        allows, without one the winner's latency.
        Layers of the teacher keep its feed-forward blocks, the others have those of the winner; where these
        are narrower, there are evenly spread layers with them too.
        """
        teacher, whole, narrow = self._start.backbone, self._whole.sizes, self._narrow.sizes
        limit = self._limit(best)
        half = max(len(teacher.layers) // 2, 1)
        chosen = {
            "every-second": Model(students(teacher, half)["teacher-layers"].canonical(), whole),
            _FIRST_HALF: Model(Backbone(teacher.layers[:half]), whole),
        }
        kinds = {"teacher-layers": whole, "hybrid": narrow, "convolution": narrow}
        if self._start.narrowed is not None:
            kinds[NARROW_LAYERS] = narrow
        for name, sizes in kinds.items():
            kind = "teacher-layers" if name == NARROW_LAYERS else name
            stacks = [
                Model(students(teacher, depth)[kind].canonical(), sizes)
                for depth in range(len(teacher.layers), 0, -1)
            ]
            within = (stack for stack in stacks if self._latency(stack) <= limit)
            chosen[name] = next(within, stacks[-1])
        if chosen["teacher-layers"] == chosen["every-second"]:
            del chosen["teacher-layers"]
        return chosen

    def _train(self, weights: Weights) -> Train:
        """Distils students that start with some weights."""
        return lambda trainings: {
            training.name: self._trainer.run(training, weights) for training in trainings
        }

    def _distilled(self, name: str, model: Model, seed: int) -> dict[str, Any]:
        """A model of the comparison at its best rate, and the rate."""
        final = self._prepared.config.final
        weights = self._shared if model.sizes.inner == self._narrow.sizes.inner else self._of_teacher
        train = self._train(self._of_first_layers if name == _FIRST_HALF else weights)
        rate = best_rates({name: model}, final, seed + _SEEDS, train)[name]
        result = train([Training(name, model, final.steps, rate, seed)])[name]
        return {**result.to_dict(), "learning_rate": rate}

    def _limit(self, best: Backbone) -> float:
        """Milliseconds that opponents may take."""
        allowed = self._limits.max_latency
        if allowed is None:
            allowed = self._latency(Model(best, self._narrow.sizes))
        return allowed * (1 + ROUNDING)

    @property
    def _teacher(self) -> Model:
        return Model(self._start.backbone, self._whole.sizes)

    def _latency(self, model: Model) -> float:
        costs = self._narrow if model.sizes.inner == self._narrow.sizes.inner else self._whole
        return costs.functions()["latency_ms"](model.backbone)

    def _costs(self, model: Model) -> dict[str, Any]:
        latency = self._latency(model)
        return {
            "backbone": model.backbone.to_list(),
            "feed_forward": model.sizes.inner,
            "parameters": model.parameters,
            "flops": cost.flops(model.backbone, model.sizes, self._prepared.config.data.length),
            "latency_ms": latency,
            "speedup": self._latency(self._teacher) / latency,
        }

    def _shared(self, backbone: Backbone) -> dict[str, Tensor]:
        """The part of the shared weights that a backbone uses."""
        model = MaskedLM(backbone, self._prepared.model)
        self._bank.inherit(model)
        return model.state_dict()

    def _of_teacher(self, backbone: Backbone) -> dict[str, Tensor]:
        """The weights of the teacher's layers with their feed-forward blocks; a head that it lacks is new."""
        if self._start.narrowed is None:
            return self._shared(backbone)
        model = MaskedLM(backbone, self._whole.sizes)
        TeacherBank(self._whole.sizes, self._start.backbone, self._start.weights).inherit(model)
        return model.state_dict()

    def _of_first_layers(self, backbone: Backbone) -> dict[str, Tensor]:
        """The weights of the teacher's first layers; of a head that it lacks, those of the other students."""
        shared = self._of_teacher(backbone)
        return {name: self._start.weights.get(name, tensor) for name, tensor in shared.items()}
