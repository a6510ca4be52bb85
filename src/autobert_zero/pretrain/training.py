"""The training of a pre-training: phase by phase, with evaluations, checkpoints and resume."""

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from autobert_zero.data.masking import MaskedBatch
from autobert_zero.data.streaming import StreamingBatches, StreamPosition
from autobert_zero.devices import out_of_memory
from autobert_zero.errors import UserError
from autobert_zero.files import write_text
from autobert_zero.nn import MaskedLM
from autobert_zero.pretrain.config import PhaseConfig, PretrainConfig
from autobert_zero.pretrain.log import Log, Meter, describe_figures, log_names
from autobert_zero.pretrain.model import new_model, save_model, without_start
from autobert_zero.pretrain.text import Batches, PhaseText, PretrainingText
from autobert_zero.progress import Reporter
from autobert_zero.run_folder.names import CHECKPOINTS, DIVERGED, SUMMARY
from autobert_zero.signals import Stopped, stop_requests
from autobert_zero.training.capture import compiles
from autobert_zero.training.checkpoint import (
    CheckpointError,
    model_weights,
    newest_checkpoint,
    restore,
    save_checkpoint,
)
from autobert_zero.training.compiling import compile_model
from autobert_zero.training.goal import Figures, Goal
from autobert_zero.training.loop import Diverged, Recipe, make_optimizer, train
from autobert_zero.training.precision import gradient_scaler

if TYPE_CHECKING:
    from accelerate import Accelerator

_SCALER = "scaler"

_StopSignal = Callable[[], int | None]
"""Returns the signal that asked for a stop."""


class PretrainingRun:
    """A running pre-training."""

    def __init__(
        self,
        config: PretrainConfig,
        out: Path,
        progress: Reporter,
        accelerator: "Accelerator | None",
        text: PretrainingText,
        goal: Goal,
        model: MaskedLM,
    ) -> None:
        self.config = config
        self.out = out
        self.progress = progress
        self.accelerator = accelerator
        self.text = text
        self.goal = goal
        self.leads = accelerator is None or accelerator.is_main_process
        self.recipe = recipe_of(config)
        self.model = goal.wrap(model)
        self.optimizer = make_optimizer(self.model, self.recipe)
        self.scaler = gradient_scaler(config.precision, next(model.parameters()).device)
        if compiles(config.recipe.compile):
            compile_model(self.model)
        if accelerator is not None:
            self.model, prepared = accelerator.prepare(self.model, self.optimizer)
            self.optimizer = prepared.optimizer
        self.meter = Meter()
        self.step = 0

    def run(self) -> dict[str, Any]:
        """Trains the remaining steps, and writes the model and the summary."""
        resumed = newest_checkpoint(self.out / CHECKPOINTS, self.progress.say)
        if resumed is not None:
            restore(resumed, self.model, self.optimizer)
            self.step = resumed.step
            self.meter.restore(resumed.about)
            if _SCALER in resumed.about:
                self.scaler.load_state_dict(resumed.about[_SCALER])
            self.progress.say(f"resuming after {self.step:,} of {self.config.steps:,} steps")
        with (
            stop_requests(patient=self.accelerator is not None) as stop_signal,
            Log(self.out, self.step) if self.leads else nullcontext() as log,
        ):
            last = self._phases(resumed.about.get("place") if resumed else None, log, stop_signal)
        held_out = self._measure(self.text.phases[-1].holdout)
        weights = self.goal.weights(model_weights(self.model))
        summary = self._summary(last, held_out)
        if self.leads:
            save_model(self.config, weights, self.text.tokenizer, self.out)
            write_text(self.out / SUMMARY, json.dumps(summary, indent=2) + "\n")
        return summary

    def _phases(self, place: dict[str, int] | None, log: Log | None, stop_signal: _StopSignal) -> Figures:
        begin, result = 0, None
        for phase, text in zip(self.config.phases, self.text.phases, strict=True):
            end = begin + phase.steps
            if self.step < end:
                # Other batches than those of a stream are functions of the step.
                if place is not None and begin < self.step and isinstance(text.train, StreamingBatches):
                    text.train.position = StreamPosition.restored(place)
                result = self._phase(phase, text, begin, log, stop_signal)
            begin = end
        return result or self._measure(self.text.phases[-1].validation)

    def _phase(
        self, phase: PhaseConfig, text: PhaseText, begin: int, log: Log | None, stop_signal: _StopSignal
    ) -> Figures:
        """Trains the remaining steps of a phase whose first step is `begin`."""
        config, report = self.config, self.config.report
        steps = range(self.step, begin + phase.steps)
        tokens = phase.batch_size * phase.length
        result: Figures | None = None

        def on_step(step: int, loss: float) -> None:
            self.step = step
            self.meter.add(loss)
            self.progress.update("pre-training", step, config.steps, f"loss {loss:.3f}")
            if step % report.log_every == 0 or step == steps.stop:
                mean, seconds = self.meter.line()
                if log is not None:
                    rate = self.recipe.rate(step - 1)
                    log.write(step, loss=mean, learning_rate=rate, tokens_per_second=tokens / seconds)

        def on_settled(step: int) -> None:
            nonlocal result
            with self.meter.paused():
                result = self._settle(step, step == steps.stop, text, log, stop_signal) or result

        if compiles(config.recipe.compile):
            torch.compiler.reset()  # or another length would compile with dynamic shapes
        self.meter.start()
        try:
            train(
                self.model,
                text.train.batches_from(steps.start - begin),
                self.recipe,
                self.goal.objective(),
                on_step,
                self.optimizer,
                scaler=self.scaler,
                steps=steps,
                loss_limit=self.goal.loss_limit,
                seed=config.seed,
                accelerator=self.accelerator,
                on_settled=on_settled,
                due=self._due,
            )
        except Diverged as error:
            self._save(self.out / DIVERGED, text.train)
            raise UserError(
                f"the training diverged: {error}. The state before that step is in {self.out / DIVERGED}; "
                "try a lower recipe.learning_rate or a longer recipe.warmup in another --out"
            ) from error
        except CheckpointError:
            raise
        except Exception as error:  # such as unreadable text, or full memory
            readable = isinstance(error, UserError) or out_of_memory(error)
            # The weights are those after the last step. Several processes would have to fail together.
            if readable and self.accelerator is None and self.step > steps.start:
                self._save(self.out / CHECKPOINTS, text.train)
            raise
        assert result is not None
        return result

    def _due(self, step: int) -> bool:
        """Whether a step within a phase is followed by a log line, an evaluation or a checkpoint."""
        report = self.config.report
        every = report.log_every, report.evaluate_every, report.checkpoint_every
        return any(step % number == 0 for number in every)

    def _settle(
        self, step: int, last: bool, text: PhaseText, log: Log | None, stop_signal: _StopSignal
    ) -> Figures | None:
        """Evaluates, saves and stops after a step, if due.

        Raises:
            Stopped: A signal asked to stop.
        """
        config, result = self.config, None
        if last or step % config.report.evaluate_every == 0:
            result = self._measure(text.validation)
            self.model.train()
            if log is not None:
                log.write(step, **log_names(result))
        stopped = self._agreed(stop_signal())
        if last or step % config.report.checkpoint_every == 0 or stopped is not None:
            self._save(self.out / CHECKPOINTS, text.train)
        if result is not None:  # saved before it is printed
            self.progress.say(f"step {step:,} of {config.steps:,}: {describe_figures(result)}")
        if stopped is not None:
            raise Stopped(stopped)
        return result

    def _agreed(self, stop_signal: int | None) -> int | None:
        """The signal that any of the processes received, so that all stop after the same step."""
        if self.accelerator is None:
            return stop_signal
        sent = torch.tensor([stop_signal or 0], device=self.accelerator.device)
        return int(self.accelerator.gather(sent).max()) or None

    def _measure(self, batches: Sequence[MaskedBatch]) -> Figures:
        return self.goal.evaluate(self.model, batches, self.accelerator)

    def _save(self, folder: Path, batches: Batches) -> None:
        about = self.meter.state()
        if self.scaler.is_enabled():
            about[_SCALER] = self.scaler.state_dict()
        if isinstance(batches, StreamingBatches):
            about["place"] = asdict(batches.position)
        save_checkpoint(folder, self.step, self.model, self.optimizer, about, self.accelerator)

    def _summary(self, last: Figures, held_out: Figures) -> dict[str, Any]:
        config = self.config
        counted = new_model(without_start(config), self.text.vocabulary.size)
        return {
            "backbone": list(config.backbone),
            "parameters": sum(p.numel() for p in counted.parameters()),
            "steps": config.steps,
            "tokens": config.tokens,
            **({} if config.distil is None else {"teacher": config.distil.teacher}),
            **{f"validation_{name}": value for name, value in last.items()},
            **{f"holdout_{name}": value for name, value in held_out.items()},
            "seconds": self.meter.seconds,
            "tokens_per_second": config.tokens / self.meter.seconds if self.meter.seconds else 0.0,
            "seed": config.seed,
        }


def recipe_of(config: PretrainConfig) -> Recipe:
    """Converts a config to the recipe of the training loop."""
    recipe = config.recipe
    return Recipe(
        steps=config.steps,
        learning_rate=recipe.learning_rate,
        warmup=recipe.warmup,
        weight_decay=recipe.weight_decay,
        clip=recipe.clip,
        precision=config.precision,
        accumulation=recipe.accumulation,
        compile="off" if config.steps_differ else recipe.compile,
    )
