"""A whole pre-training and its folder: phases, evaluations, checkpoints, resume."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer

from autobert_zero.announce import estimate_line, machine_line, model_line
from autobert_zero.data.masking import MaskedBatch
from autobert_zero.data.streaming import Place, StreamingBatches
from autobert_zero.data.tokenizer import load_tokenizer
from autobert_zero.devices import find_device, out_of_memory
from autobert_zero.errors import UserError, first_line
from autobert_zero.files import write_text
from autobert_zero.hf.encoders import open_encoder
from autobert_zero.nn import MaskedLM
from autobert_zero.pretrain.config import PhaseConfig, PretrainConfig
from autobert_zero.pretrain.goal import make_goal
from autobert_zero.pretrain.launch import launched
from autobert_zero.pretrain.log import Log, Meter
from autobert_zero.pretrain.model import new_model, save_model
from autobert_zero.pretrain.parts import pretrain_parts
from autobert_zero.pretrain.start import open_start
from autobert_zero.pretrain.text import Batches, PhaseText, Text, open_text
from autobert_zero.progress import Bars
from autobert_zero.run_folder import (
    PRETRAINING,
    Input,
    begun,
    check_inputs,
    check_run,
    kind_of,
    open_run,
)
from autobert_zero.run_folder.names import CHECKPOINTS, DIVERGED, METRICS, SUMMARY, TENSORBOARD, TOKENIZER
from autobert_zero.settings import read_yaml, resolve
from autobert_zero.signals import Stopped, requests
from autobert_zero.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    checkpoints,
    model_weights,
    newest_checkpoint,
    restore,
    save_checkpoint,
)
from autobert_zero.training.goal import Figures, Goal
from autobert_zero.training.loop import Diverged, Recipe, make_optimizer, train
from autobert_zero.training.precision import gradient_scaler
from autobert_zero.training.precision import resolve as number_format

if TYPE_CHECKING:
    from accelerate import Accelerator

_SCALER = "scaler"

_Asked = Callable[[], int | None]
"""Returns the signal that asked for a stop."""


def run_pretraining(config: PretrainConfig, out: Path, progress: Bars) -> dict[str, Any]:
    """Starts a pre-training, or continues the one in `out`.

    Args:
        config: The whole config.
        out: The folder; new or empty, or holding a training of the same config.
        progress: What the user sees.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        UserError: The corpus, the device or the folder cannot be used, a checkpoint cannot be written, or the
            training diverged.
        Stopped: By the user; the folder can be resumed.
    """
    accelerator = launched(config.device)
    leads = accelerator is None or accelerator.is_main_process
    device = accelerator.device if accelerator else find_device(config.device)
    number_format(config.precision, device)  # one that the device does not compute in is refused
    _check_shares(config, accelerator)
    done = read_summary(out)
    if done is not None:
        progress.say(f"{out} is finished already")
        return done
    resumed = begun(out, PRETRAINING)
    tokenizer = _tokenizer_of(config, out if resumed else None)

    def check(inputs: Mapping[str, Input]) -> None:
        if resumed:
            check_inputs(out, inputs)

    # The first process of a machine fills the caches.
    with accelerator.local_main_process_first() if accelerator else nullcontext():
        text = open_text(config, progress.update, tokenizer, check)
    with _memory_told(out):
        # A resumed training has its weights from a checkpoint; what it started from may be gone.
        fresh = _from_scratch(config) if checkpoints(out / CHECKPOINTS) else config
        model = new_model(fresh, text.vocabulary.size).to(device)
        if not resumed:
            _draw_first(text)  # in every process: all of them fail alike

        def write_start() -> None:
            write_text(out / TOKENIZER, text.tokenizer.to_str(pretty=True))
            write_text(out / PRETRAINING.marker, config.absolute().to_yaml())

        goal = make_goal(config, text.tokenizer, device)
        inputs = _inputs(text) | goal.inputs
        opened = open_run(out, PRETRAINING, inputs, write_start, progress.say)
        with opened if leads else nullcontext():
            for line in _announcement(fresh, text, goal, model, device, accelerator):
                progress.say(line)
            return _Training(config, out, progress, accelerator, text, goal, model).run()


def _inputs(text: Text) -> dict[str, Input]:
    """What a training depends on beside its config."""
    vocabulary = json.dumps(sorted(text.tokenizer.get_vocab().items()))  # all that a finished model keeps
    digest = hashlib.blake2b(vocabulary.encode(), digest_size=16).hexdigest()
    return {**text.inputs, "vocabulary": Input(digest, TOKENIZER)}


def _announcement(
    config: PretrainConfig,
    text: Text,
    goal: Goal,
    model: MaskedLM,
    device: torch.device,
    accelerator: "Accelerator | None",
) -> list[str]:
    """The first lines: text, model, device, and how long the training will take."""
    sizes = model.encoder.config
    lines = [
        *text.lines,
        f"{model_line(len(config.backbone), sizes)}: {sum(p.numel() for p in model.parameters()):,} "
        f"parameters; seed {config.seed}",
        *(open_start(config.start).lines(config.layers()) if config.start is not None else ()),
        *goal.lines,
        machine_line(device, config.precision),
    ]
    if accelerator is not None:  # a model may be too large for one process, and the others wait
        return [*lines, f"{accelerator.num_processes} processes; {config.tokens:,} tokens"]
    if config.distil is not None:  # the teacher's share is not estimated
        return [*lines, f"{config.tokens:,} tokens"]
    return [*lines, estimate_line(pretrain_parts(config), sizes, config.precision, device)]


class _Training:
    """The state of a pre-training while it runs."""

    def __init__(
        self,
        config: PretrainConfig,
        out: Path,
        progress: Bars,
        accelerator: "Accelerator | None",
        text: Text,
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
        if config.recipe.compile:
            self.model.compile()
        if accelerator is not None:
            self.model, prepared = accelerator.prepare(self.model, self.optimizer)
            self.optimizer = prepared.optimizer
        self.meter = Meter()
        self.step = 0

    def run(self) -> dict[str, Any]:
        """Trains what is left, and writes the model and the summary."""
        found = newest_checkpoint(self.out / CHECKPOINTS, self.progress.say)
        if found is not None:
            restore(found, self.model, self.optimizer)
            self.step = found.step
            self.meter.restore(found.about)
            if _SCALER in found.about:
                self.scaler.load_state_dict(found.about[_SCALER])
            self.progress.say(f"resuming after {self.step:,} of {self.config.steps:,} steps")
        with (
            requests(patient=self.accelerator is not None) as asked,
            Log(self.out, self.step) if self.leads else nullcontext() as log,
        ):
            last = self._phases(found, log, asked)
        held_out = self._measure(self.text.phases[-1].holdout)
        weights = self.goal.weights(model_weights(self.model))
        summary = self._summary(last, held_out)
        if self.leads:
            save_model(self.config, weights, self.text.tokenizer, self.out)
            write_text(self.out / SUMMARY, json.dumps(summary, indent=2) + "\n")
        return summary

    def _phases(self, found: Checkpoint | None, log: Log | None, asked: _Asked) -> Figures:
        begin, result = 0, None
        for phase, text in zip(self.config.phases, self.text.phases, strict=True):
            end = begin + phase.steps
            if self.step < end:
                if found is not None and "place" in found.about and begin < self.step:
                    _go_on_at(text.train, found.about["place"])
                result = self._phase(phase, text, begin, log, asked)
            begin = end
        return result or self._measure(self.text.phases[-1].validation)

    def _phase(
        self,
        phase: PhaseConfig,
        text: PhaseText,
        begin: int,
        log: Log | None,
        asked: _Asked,
    ) -> Figures:
        """Trains the steps of a phase, which begins at `begin`, that are left."""
        config, report = self.config, self.config.report
        steps = range(self.step, begin + phase.steps)
        tokens = phase.batch_size * phase.length
        result: Figures | None = None

        def on_step(step: int, loss: float) -> None:
            nonlocal result
            self.step = step
            self.meter.add(loss)
            self.progress.update("pre-training", step, config.steps, f"loss {loss:.3f}")
            ends = step == steps.stop
            if step % report.log_every == 0 or ends:
                mean, seconds = self.meter.line()
                if log is not None:
                    rate = self.recipe.rate(step - 1)
                    log.write(step, loss=mean, learning_rate=rate, tokens_per_second=tokens / seconds)
            evaluated = step % report.evaluate_every == 0 or ends
            with self.meter.paused():
                if evaluated:
                    result = self._evaluate(text, step, log)
                stopped = self._agreed(asked())
                if step % report.checkpoint_every == 0 or ends or stopped is not None:
                    self._save(self.out / CHECKPOINTS, text.train)
                if evaluated and result is not None:  # saved before it is printed
                    self.progress.say(f"step {step:,} of {config.steps:,}: {_in_words(result)}")
            if stopped is not None:
                raise Stopped(stopped)

        self.meter.start()
        try:
            train(
                self.model,
                text.train.starting(steps.start - begin),
                self.recipe,
                self.goal.objective(),
                on_step,
                self.optimizer,
                scaler=self.scaler,
                steps=steps,
                loss_limit=self.goal.loss_limit,
                seed=config.seed,
                accelerator=self.accelerator,
            )
        except Diverged as error:
            self._save(self.out / DIVERGED, text.train)
            raise UserError(
                f"the training diverged: {error}. The state before that step is in {self.out / DIVERGED}; "
                "try a lower recipe.learning_rate or a longer recipe.warmup in another --out"
            ) from error
        except CheckpointError:
            raise
        except Exception as error:  # the text cannot be read on, or memory is full
            readable = isinstance(error, UserError) or out_of_memory(error)
            # The weights are those after the last step. Several processes would have to fail together.
            if readable and self.accelerator is None and self.step > steps.start:
                self._save(self.out / CHECKPOINTS, text.train)
            raise
        assert result is not None
        return result

    def _agreed(self, asked: int | None) -> int | None:
        """The signal that any of the processes was sent: all of them stop after the same step."""
        if self.accelerator is None:
            return asked
        sent = torch.tensor([asked or 0], device=self.accelerator.device)
        return int(self.accelerator.gather(sent).max()) or None

    def _evaluate(self, text: PhaseText, step: int, log: Log | None) -> Figures:
        result = self._measure(text.validation)
        self.model.train()
        if log is not None:
            log.write(step, **_logged(result))
        return result

    def _measure(self, batches: Sequence[MaskedBatch]) -> Figures:
        return self.goal.evaluate(self.model, batches, self.accelerator)

    def _save(self, folder: Path, batches: Batches) -> None:
        about = self.meter.state()
        if self.scaler.is_enabled():
            about[_SCALER] = self.scaler.state_dict()
        if isinstance(batches, StreamingBatches):
            about["place"] = asdict(batches.place)
        save_checkpoint(folder, self.step, self.model, self.optimizer, about, self.accelerator)

    def _summary(self, last: Figures, held_out: Figures) -> dict[str, Any]:
        config = self.config
        counted = new_model(_from_scratch(config), self.text.vocabulary.size)
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


@contextmanager
def _memory_told(out: Path) -> Iterator[None]:
    """Turns full memory into one line, and leaves a folder in which nothing was trained to another start.

    Raises:
        UserError: Memory is full.
    """
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        advice = (
            "lower the batch_size or length of phases, model.width or text.vocab_size, raise "
            "recipe.accumulation, or set recipe.gradient_checkpointing=true"
        )
        if kept := checkpoints(out / CHECKPOINTS):
            how = (
                f"step {int(kept[0].name):,} is saved: continue with --resume where there is more memory, or "
                f"in another --out {advice}"
            )
        else:
            how = advice
            (out / METRICS).unlink(missing_ok=True)
            shutil.rmtree(out / TENSORBOARD, ignore_errors=True)
        raise UserError(f"memory is full ({first_line(error)}); {how}") from error


def recipe_of(config: PretrainConfig) -> Recipe:
    """The recipe of the training loop."""
    recipe = config.recipe
    return Recipe(
        steps=config.steps,
        learning_rate=recipe.learning_rate,
        warmup=recipe.warmup,
        weight_decay=recipe.weight_decay,
        clip=recipe.clip,
        precision=config.precision,
        parts=recipe.accumulation,
    )


def read_config(out: Path) -> PretrainConfig:
    """Reads the config of a pre-training, to resume it.

    Raises:
        UserError: There is none in the folder, or it is damaged.
    """
    check_run(out, PRETRAINING)
    path = out / PRETRAINING.marker
    try:
        settings = read_yaml(path)
        base = PretrainConfig(backbone=tuple(settings["backbone"]))
        return resolve(base, settings)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); start another run") from None


def read_summary(out: Path) -> dict[str, Any] | None:
    """The summary of a finished training; None for another folder."""
    path = out / SUMMARY
    if not path.exists() or kind_of(out) is not PRETRAINING:
        return None
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _check_shares(config: PretrainConfig, accelerator: "Accelerator | None") -> None:
    processes = accelerator.num_processes if accelerator else 1
    parts = processes * config.recipe.accumulation
    for phase in config.phases:
        if phase.batch_size % parts:
            raise UserError(
                f"a batch_size of {phase.batch_size} cannot be divided evenly over {processes} processes "
                f"with recipe.accumulation {config.recipe.accumulation}"
            )


def _logged(result: Figures) -> Figures:
    """An evaluation on validation text, by the names that the log has for it."""
    return {"validation_loss" if name == "loss" else name: value for name, value in result.items()}


def _in_words(result: Figures) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in _logged(result).items())


def _from_scratch(config: PretrainConfig) -> PretrainConfig:
    """The same model without the weights that it starts from."""
    return config.model_copy(update={"start": None})


def _tokenizer_of(config: PretrainConfig, resumed: Path | None) -> Tokenizer | None:
    """The tokenizer of the run that is continued, of what the training starts from, or of the teacher."""
    if resumed is not None:
        return load_tokenizer(str(resumed / TOKENIZER))
    if config.start is not None:
        return open_start(config.start).tokenizer()
    return None if config.distil is None else load_tokenizer(open_encoder(config.distil.teacher).source)


def _draw_first(text: Text) -> None:
    """Finds out that a streamed corpus is too short before the folder is taken.

    Raises:
        UserError: It is.
    """
    for phase in text.phases:
        if isinstance(phase.train, StreamingBatches):
            next(phase.train.starting(0))


def _go_on_at(batches: Batches, place: dict[str, int]) -> None:
    if isinstance(batches, StreamingBatches):
        batches.place = Place(**place)
