"""`plan`: estimates of the cost of runs. Each command takes the options of the command that it plans."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autobert_zero.cli.app import HELP_OPTIONS, TRAINING, Result, app, command
from autobert_zero.cli.distil import distil_command
from autobert_zero.cli.finetune import (
    TaskFolder,
    finetune_command,
    finetune_settings,
    glue_command,
    glue_tasks,
    task_folders,
)
from autobert_zero.cli.options import Devices, HardwareName, folder_option
from autobert_zero.cli.pretrain import pretrain_command, pretrain_settings
from autobert_zero.cli.search import search_command, search_settings
from autobert_zero.errors import UserError, counted
from autobert_zero.extras import require
from autobert_zero.progress import quiet_transformers

if TYPE_CHECKING:
    from autobert_zero.plan import RunPlan
    from autobert_zero.pretrain.config import PretrainConfig

plan_app = typer.Typer(
    no_args_is_help=True,
    context_settings=HELP_OPTIONS,
    help="Estimate parameters, FLOPs, memory and time before a run.",
)
app.add_typer(plan_app, name="plan", rich_help_panel=TRAINING)

_Plan = Callable[[Mapping[str, Any], str | None, int], "RunPlan"]


def _plans(original: Callable[..., Any]) -> Callable[[_Plan], _Plan]:
    """Adds a function as a command of `plan`; it takes the options of the planned command as a mapping.

    Args:
        original: The planned command, whose name and options the new one has.
    """

    def register(function: _Plan) -> _Plan:
        def planned(hardware: str | None, devices: int, **options: Any) -> Result:
            estimated = function(options, hardware, devices)
            return Result(str(estimated), asdict(estimated))

        keyword_only = partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
        planned_options = inspect.signature(original).parameters
        out = _RESUMED if "resume" in planned_options else _UNUSED
        parameters = [
            keyword_only(parameter.name, annotation=Annotated[Path | None, folder_option(out)], default=None)
            if parameter.name == "out"
            else parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in planned_options.values()
        ]
        parameters += [
            keyword_only("hardware", annotation=HardwareName, default=None),
            keyword_only("devices", annotation=Devices, default=1),
        ]
        planned.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        name = original.__name__.removesuffix("_command")
        command(TRAINING, name, group=plan_app, description=function.__doc__)(planned)
        return function

    return register


# Help of --out, with and without --resume in the planned command.
_RESUMED = "With --resume, the run that is planned; nothing is written."
_UNUSED = "As in the command that is planned; nothing is read or written."


@_plans(search_command)
def plan_search(options: Mapping[str, Any], hardware: str | None, devices: int) -> "RunPlan":
    """Estimate what a search takes, with the comparison at its end."""
    from autobert_zero.plan import plan
    from autobert_zero.search_runs.stages import search_stages
    from autobert_zero.search_runs.start_model import open_start_model

    config, first = search_settings(options)
    if config.distil is None:
        sizes = config.model.encoder_config(_vocabulary_size(config.data), config.data.length)
    else:
        sizes = open_start_model(config.distil.teacher).sizes
    device = _measured_on(config.device, hardware)
    return plan(search_stages(config, len(first)), sizes, hardware, devices, config.precision, device)


@_plans(pretrain_command)
def plan_pretrain(options: Mapping[str, Any], hardware: str | None, devices: int) -> "RunPlan":
    """Estimate what a pre-training takes; without --backbone that of BERT."""
    return _plan_pretraining(pretrain_settings(options), hardware, devices)


@_plans(distil_command)
def plan_distil(options: Mapping[str, Any], hardware: str | None, devices: int) -> "RunPlan":
    """Estimate what a distillation takes, without what its teacher computes."""
    return _plan_pretraining(pretrain_settings({**options, "tokenizer": None}, "distil"), hardware, devices)


def _plan_pretraining(config: "PretrainConfig", hardware: str | None, devices: int) -> "RunPlan":
    """Estimates what the training of a config takes."""
    from autobert_zero.plan import plan
    from autobert_zero.pretrain.stages import pretrain_stages

    if config.start is None and config.distil is None:
        vocabulary_size = _vocabulary_size(config.data)
    else:
        from autobert_zero.pretrain.run import known_tokenizer

        tokenizer = known_tokenizer(config, None)
        assert tokenizer is not None
        vocabulary_size = tokenizer.get_vocab_size()
    sizes = config.sizes(vocabulary_size)
    device = _measured_on(config.device, hardware)
    return plan(pretrain_stages(config, devices), sizes, hardware, devices, config.precision, device)


@_plans(finetune_command)
def plan_finetune(options: Mapping[str, Any], hardware: str | None, devices: int) -> "RunPlan":
    """Estimate what a fine-tuning takes, with all its rates and seeds, if none stops early."""
    require("plan finetune", "finetune", "transformers")
    tasks = options["task"]
    return _plan_tasks(
        options, task_folders(tasks, options["data"], nested=len(tasks) > 1), hardware, devices
    )


@_plans(glue_command)
def plan_glue(options: Mapping[str, Any], hardware: str | None, devices: int) -> "RunPlan":
    """Estimate what the fine-tuning on all GLUE tasks takes, if no training stops early."""
    require("plan glue", "finetune", "transformers")
    names = glue_tasks(options["tasks"], options["data"])
    return _plan_tasks(options, task_folders(names, options["data"], nested=True), hardware, devices)


def _plan_tasks(
    options: Mapping[str, Any], folders: Mapping[str, TaskFolder], hardware: str | None, devices: int
) -> "RunPlan":
    """Estimates what the trainings on tasks take."""
    quiet_transformers()
    from statistics import fmean

    import autobert_zero.hf
    from autobert_zero.estimate import TrainingStage
    from autobert_zero.finetune.models import open_model
    from autobert_zero.finetune.suite import make_problem
    from autobert_zero.finetune.training.sweep import poolings_of, trainings
    from autobert_zero.plan import plan

    model = open_model(options["model"])
    settings = model.config
    if not isinstance(settings, autobert_zero.hf.AutoBertZeroConfig):
        kind = settings.model_type
        raise UserError(f"{model.source} is a model of type {kind}; plan knows autobert-zero only")
    sizes = settings.encoder_config()
    chosen = finetune_settings(options)
    length = model.length(chosen.length)
    backbone = settings.parse_backbone()
    stages = []
    for name, folder in folders.items():
        problem = make_problem(name, folder.data, model.tokenizer, length)
        train = problem.features["train"]
        runs = trainings(chosen, len(poolings_of(model, problem, chosen)))
        usual = max(round(fmean(train.length(index) for index in range(len(train)))), 1)
        per_epoch = -(-len(train) // chosen.batch_size)
        sequences = round(runs * chosen.updates(len(train)) * len(train) / per_epoch)
        what = f"{'' if len(folders) == 1 else f'{folder.task}: '}{counted(runs, 'training')}"
        stages.append(TrainingStage(what, backbone, usual, chosen.batch_size, sequences, with_head=False))
    device = _measured_on(chosen.device, hardware)
    return plan(stages, sizes, hardware, devices, chosen.precision, device)


def _vocabulary_size(text: Any) -> int:
    """The size of the vocabulary: of the tokenizer that is named, or of the one that will be trained."""
    from autobert_zero.data.tokenizer import load_tokenizer

    return text.vocab_size if text.tokenizer is None else load_tokenizer(text.tokenizer).get_vocab_size()


def _measured_on(device: str, hardware: str | None) -> Any:
    """The device to measure on; a planned device need not be present if nothing is measured."""
    from autobert_zero.devices import find_device

    return find_device(device if hardware is None else "cpu")
