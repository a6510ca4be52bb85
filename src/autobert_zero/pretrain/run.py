"""A whole pre-training and its folder: phases, evaluations, checkpoints, resume."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer

from autobert_zero.announce import estimate_line, machine_line, model_line
from autobert_zero.data.streaming import StreamingBatches
from autobert_zero.data.tokenizer import load_tokenizer
from autobert_zero.devices import find_device, make_deterministic, out_of_memory
from autobert_zero.errors import UserError, first_line
from autobert_zero.files import write_text
from autobert_zero.hf.encoders import open_encoder
from autobert_zero.nn import MaskedLM
from autobert_zero.pretrain.config import PretrainConfig
from autobert_zero.pretrain.folder import read_summary, settings_input
from autobert_zero.pretrain.goal import make_goal
from autobert_zero.pretrain.launch import set_up_accelerator
from autobert_zero.pretrain.model import new_model, without_start
from autobert_zero.pretrain.stages import pretrain_stages
from autobert_zero.pretrain.start import open_start
from autobert_zero.pretrain.text import PretrainingText, open_text
from autobert_zero.pretrain.training import PretrainingRun
from autobert_zero.progress import Reporter
from autobert_zero.run_folder import PRETRAINING, Input, check_inputs, holds_run, open_run
from autobert_zero.run_folder.digests import text_digest
from autobert_zero.run_folder.names import CHECKPOINTS, METRICS_LOG, TENSORBOARD, TOKENIZER
from autobert_zero.training.capture import capture_refusal, captures
from autobert_zero.training.checkpoint import checkpoints
from autobert_zero.training.goal import Goal
from autobert_zero.training.precision import resolve_precision as number_format

if TYPE_CHECKING:
    from accelerate import Accelerator


def run_pretraining(config: PretrainConfig, out: Path, progress: Reporter) -> dict[str, Any]:
    """Starts a pre-training, or continues the one in `out`.

    Args:
        config: Config of the pre-training.
        out: Folder that is new or empty, or holds a training of the same config.
        progress: Shows progress to the user.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        UserError: The corpus, the device or the folder cannot be used, a checkpoint cannot be written, or the
            training diverged.
        Stopped: By the user; the folder can be resumed.
    """
    if config.deterministic:
        make_deterministic()
    accelerator = set_up_accelerator(config.device)
    leads = accelerator is None or accelerator.is_main_process
    device = accelerator.device if accelerator else find_device(config.device)
    number_format(config.precision, device)  # refuses a format that the device lacks
    _check_shares(config, accelerator)
    done, settings = read_summary(out), {"settings": settings_input(config, out)}
    if done is not None:
        check_inputs(out, settings)
        progress.say(f"{out} is finished already")
        return done
    resumed = holds_run(out, PRETRAINING)
    if resumed:
        check_inputs(out, settings)
    tokenizer = known_tokenizer(config, out if resumed else None)

    def check(inputs: Mapping[str, Input]) -> None:
        if resumed:
            check_inputs(out, inputs)

    # The first process of a machine fills the caches.
    with accelerator.local_main_process_first() if accelerator else nullcontext():
        text = open_text(config, progress.update, tokenizer, check)
    with _memory_errors_explained(out):
        # A resumed training has its weights from a checkpoint; what it started from may be gone.
        fresh = without_start(config) if checkpoints(out / CHECKPOINTS) else config
        model = new_model(fresh, text.vocabulary.size).to(device)
        if not resumed:
            _draw_first(text)  # in every process, so that all fail alike

        def write_start() -> None:
            write_text(out / TOKENIZER, text.tokenizer.to_str(pretty=True))
            write_text(out / PRETRAINING.marker, config.absolute().to_yaml())

        goal = make_goal(config, text.tokenizer, device)
        inputs = settings | _inputs(text) | goal.inputs
        opened = open_run(out, PRETRAINING, inputs, write_start, progress.say)
        with opened if leads else nullcontext():
            for line in _announcement(fresh, text, goal, model, device, accelerator):
                progress.say(line)
            return PretrainingRun(config, out, progress, accelerator, text, goal, model).run()


def _inputs(text: PretrainingText) -> dict[str, Input]:
    """The inputs of a run besides its config and its goal."""
    vocabulary = json.dumps(
        sorted(text.tokenizer.get_vocab().items())
    )  # all that a finished model keeps of it
    return {**text.inputs, "vocabulary": Input(text_digest(vocabulary), TOKENIZER)}


def _announcement(
    config: PretrainConfig,
    text: PretrainingText,
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
    processes = accelerator.num_processes if accelerator else 1
    if captures(config.recipe.compile) and (
        reason := config.steps_differ or capture_refusal(device, config.precision, processes)
    ):
        lines.append(f"steps are not captured: {reason}")
    if accelerator is not None:  # a model may be too large for one process, and the others wait
        return [*lines, f"{processes} processes; {config.tokens:,} tokens"]
    if config.distil is not None:  # the teacher's share is not estimated
        return [*lines, f"{config.tokens:,} tokens"]
    return [*lines, estimate_line(pretrain_stages(config), sizes, config.precision, device)]


@contextmanager
def _memory_errors_explained(out: Path) -> Iterator[None]:
    """Explains full memory in one line; a folder in which nothing was trained is left free for another start.

    Raises:
        UserError: Memory is full.
    """
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        advice = (
            "lower the batch_size or length of phases, model.width or data.vocab_size, raise "
            "recipe.accumulation, or set recipe.gradient_checkpointing=true"
        )
        if kept := checkpoints(out / CHECKPOINTS):
            how = (
                f"step {int(kept[0].name):,} is saved: continue with --resume where there is more memory, or "
                f"in another --out {advice}"
            )
        else:
            how = advice
            (out / METRICS_LOG).unlink(missing_ok=True)
            shutil.rmtree(out / TENSORBOARD, ignore_errors=True)
        raise UserError(f"memory is full ({first_line(error)}); {how}") from error


def _check_shares(config: PretrainConfig, accelerator: "Accelerator | None") -> None:
    processes = accelerator.num_processes if accelerator else 1
    micro_batches = processes * config.recipe.accumulation
    for phase in config.phases:
        if phase.batch_size % micro_batches:
            raise UserError(
                f"a batch_size of {phase.batch_size} cannot be divided evenly over {processes} processes "
                f"with recipe.accumulation {config.recipe.accumulation}"
            )


def known_tokenizer(config: PretrainConfig, resumed: Path | None) -> Tokenizer | None:
    """The tokenizer of the resumed run, of the model or search to start from, or of the teacher.

    Args:
        config: Config of the pre-training.
        resumed: Folder of the run that is resumed, if any.

    Returns:
        The tokenizer; None if the section `data` decides.
    """
    if resumed is not None:
        return load_tokenizer(str(resumed / TOKENIZER))
    if config.start is not None:
        return open_start(config.start).tokenizer()
    return None if config.distil is None else load_tokenizer(open_encoder(config.distil.teacher).source)


def _draw_first(text: PretrainingText) -> None:
    """Draws a batch of each streamed phase, so that too short a corpus fails before the folder is used.

    Raises:
        UserError: The corpus is too short.
    """
    for phase in text.phases:
        if isinstance(phase.train, StreamingBatches):
            next(phase.train.batches_from(0))
