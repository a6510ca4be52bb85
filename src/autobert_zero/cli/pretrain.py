"""`pretrain`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autobert_zero.cli.app import TRAINING, Result, command
from autobert_zero.cli.backbones import HELP as BACKBONE
from autobert_zero.cli.backbones import find_backbone, named_folder
from autobert_zero.cli.common import (
    check_resumed,
    find_preset,
    given,
    how_to_resume,
    settings_given,
    settings_of,
    start_of,
    teacher_of,
)
from autobert_zero.cli.options import (
    Config,
    CorpusSources,
    DeviceSetting,
    Layers,
    Resume,
    RunFolder,
    Seed,
    TextColumn,
    TokenizerSource,
    TrainingPreset,
    settings_option,
)
from autobert_zero.errors import UserError
from autobert_zero.extras import require
from autobert_zero.progress import Bars, log_console, quiet_transformers

if TYPE_CHECKING:
    from autobert_zero.pretrain.config import PretrainConfig
    from autobert_zero.space import Backbone


_RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
"""Environment variables with the rank of this process, from torchrun, `accelerate launch` and mpirun."""

DISTILLED_RATE = 1e-3
"""Peak learning rate of a distillation that starts from weights; those of presets are for new weights."""


def how_to_go_on(options: Mapping[str, Any]) -> str | None:
    """How to go on after a stop; None in all processes but the first."""
    ranks = (os.environ.get(name, "") for name in _RANKS)
    return how_to_resume("pretrain", options["out"]) if set(ranks) <= {"", "0"} else None


@command(TRAINING, stopped=how_to_go_on)
def pretrain_command(
    out: RunFolder,
    backbone: Annotated[str | None, typer.Option(help=BACKBONE)] = None,
    layers: Layers = None,
    preset: TrainingPreset = "demo",
    config: Config = None,
    set_: Annotated[list[str] | None, settings_option("pretrain", "recipe.learning_rate=1e-3")] = None,
    seed: Seed = None,
    device: DeviceSetting = None,
    corpus: CorpusSources = None,
    text_column: TextColumn = None,
    tokenizer: TokenizerSource = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Start from a model (folder or Hub name: ours, BERT, ModernBERT) or a search's weights."
        ),
    ] = None,
    resume: Resume = False,
) -> Result | None:
    """Pre-train a backbone: masked tokens, with or without next sentences."""
    return run_training("pretrain", {**locals(), "teacher": None})


def run_training(command: str, options: Mapping[str, Any]) -> Result | None:
    """Pre-trains or distils a model.

    Args:
        command: `pretrain` or `distil`.
        options: Options of the command, by name.

    Returns:
        The result in the first process, None in all others.
    """
    out, resume = options["out"], options["resume"]
    require(command, "pretrain", "transformers", "tensorboard")
    quiet_transformers()
    from autobert_zero.pretrain.launch import set_up_accelerator
    from autobert_zero.pretrain.run import run_pretraining
    from autobert_zero.run_folder import check_new

    resolved, taken_over = resolved_pretraining(options, command)
    if not resume:
        check_new(out)
    accelerator = set_up_accelerator(resolved.device)
    is_follower = accelerator is not None and not accelerator.is_main_process

    with Bars(log_console(), quiet=is_follower) as progress:
        if taken_over:
            progress.say(taken_over)
        summary = run_pretraining(resolved, out, progress)
    if is_follower:
        return None
    accuracy = summary.get("holdout_mlm_accuracy", summary.get("holdout_cosine"))
    what = "MLM accuracy" if "holdout_mlm_accuracy" in summary else "cosine to the teacher"
    shown = "" if accuracy is None else f", {what} {accuracy:.4f}"
    text = (
        f"held-out loss {summary['holdout_loss']:.4f}{shown} after {summary['tokens']:,} tokens "
        f"({summary['seconds']:.0f} s); the model is in {out}"
    )
    return Result(text, {"out": out, **summary})


def pretrain_settings(options: Mapping[str, Any], command: str = "plan") -> "PretrainConfig":
    """The config of the training that is resumed, or the one that the options make."""
    return resolved_pretraining(options, command)[0]


def resolved_pretraining(options: Mapping[str, Any], command: str) -> "tuple[PretrainConfig, str]":
    """Makes the config of a training.

    Backbone, start and teacher may be named by options, in the file of --config or with --set.

    Args:
        options: Options of the command, by name.
        command: `pretrain`, `distil`, or `plan`, which takes BERT without a backbone.

    Returns:
        The config, and a line about the settings that it takes over from a run or a model; empty if none.

    Raises:
        UserError: An option cannot be used, or the backbone or the teacher is missing.
    """
    from autobert_zero.pretrain.config import PretrainConfig
    from autobert_zero.pretrain.folder import read_pretrain_config
    from autobert_zero.pretrain.presets import PRETRAIN_PRESETS
    from autobert_zero.settings import resolve

    if options["resume"]:
        check_resumed(options)
        return read_pretrain_config(options["out"]), ""
    source, layers = options["backbone"], options["layers"]
    own = settings_given(options) | given(options, "start")
    if source is not None:
        own["backbone"] = find_backbone(source, layers).to_list()
    if options.get("teacher") is not None:
        own["distil"] = {"teacher": options["teacher"]}
    settings = settings_of(PretrainConfig, options["config"], options["set_"], own)
    start, teacher, named = start_of(settings), teacher_of(settings), settings.get("backbone") is not None
    if command == "distil" and teacher is None:
        raise UserError("name a model to learn from with --teacher")
    if command != "plan" and not named and settings.get("start") is None:
        raise UserError("name a backbone with --backbone, or a model or a search with --start")
    if named and source is None and layers is not None:
        raise UserError("--layers is for a stack of --backbone; the settings name the layers themselves")
    below = _inherited(start, source, options)
    taken_over = dict(below)
    if teacher is not None:
        # Embeddings are of texts, so documents are kept apart; --set and files may say otherwise.
        below["data"] = {"isolated": True, **below.get("data", {})}
        if start is not None:
            below["recipe"] = {"learning_rate": DISTILLED_RATE}
    backbone = find_backbone("bert") if named else _chosen_backbone(start, layers)
    config = resolve(find_preset(PRETRAIN_PRESETS, options["preset"])(backbone), below, settings)
    return config, _inherited_line(str(start or source), taken_over, config) if taken_over else ""


def _inherited(start: str | None, backbone: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that a training takes over from its start, or from the run of --backbone.

    A training that starts from weights has to have their sizes. Without a start, text and sizes of the run
    are taken over, the sizes only if the preset has none of its own. The way to read a corpus is not taken
    over if another corpus is given.
    """
    run = None if backbone is None else named_folder(backbone)
    if start is not None:
        from autobert_zero.pretrain.start import open_start

        settings = open_start(start).settings
        if run is not None and "feed_forward" in settings["model"]:
            _check_width(run, start, settings["model"]["feed_forward"])
    else:
        settings = {} if run is None else _settings_of(run, options["preset"])
    if options["corpus"] and "data" in settings:
        left = ("corpus", "text_column", "document")
        settings["data"] = {name: value for name, value in settings["data"].items() if name not in left}
    return settings


def _check_width(run: Path, start: str, inner: int) -> None:
    """Checks that layers found with narrow feed-forward blocks are not combined with wider ones."""
    from autobert_zero.run_folder import SEARCH, kind_of
    from autobert_zero.run_folder.names import BEST
    from autobert_zero.search.config import read_search_config

    if kind_of(run) is not SEARCH:
        return
    config = read_search_config(run)
    if config.space.narrow and config.model.feed_forward < inner:
        raise UserError(
            f"the search in {run} found its layers with feed-forward blocks of {config.model.feed_forward}, "
            f"{start} has {inner}: go on with the winner by --start {run}, or name {run / BEST}.txt"
        )


def _chosen_backbone(start: str | None, layers: int | None) -> "Backbone":
    """The backbone of the model to start from; BERT's without one."""
    if start is not None:
        from autobert_zero.pretrain.start import open_start

        if (own := open_start(start).backbone) is not None:
            return own
    return find_backbone(start or "bert", layers)


def _settings_of(run: Path, preset: str) -> dict[str, Any]:
    """Text and sizes of a search or a pre-training; no sizes for a preset that has its own."""
    from autobert_zero.pretrain.folder import read_pretrain_config
    from autobert_zero.pretrain.presets import SIZED
    from autobert_zero.run_folder import PRETRAINING, SEARCH, kind_of
    from autobert_zero.search.config import read_search_config
    from autobert_zero.shared_config import CorpusConfig, ModelConfig

    kind = kind_of(run)
    if kind not in (SEARCH, PRETRAINING):
        return {}
    config: Any = read_search_config(run) if kind is SEARCH else read_pretrain_config(run)
    data, model = (section.model_dump(mode="json") for section in (config.data, config.model))
    sized = preset in SIZED
    left = {"vocab_size"} if sized else set()
    settings = {"data": {name: data[name] for name in CorpusConfig.model_fields if name not in left}}
    if not sized:
        settings["model"] = {name: model[name] for name in ModelConfig.model_fields}
    return settings


def _inherited_line(run: str, settings: Mapping[str, Any], config: "PretrainConfig") -> str:
    """A line about the settings that are taken over from a run, and those that differ."""
    used = config.model_dump(mode="json")
    same, other = [], []
    for section in ("data", "model"):
        for name, value in settings.get(section, {}).items():
            if name in _SHOWN or value != used[section][name]:
                now = used[section][name]
                words = f"{section}.{name} {', '.join(now) if isinstance(now, list) else now}"
                same.append(words) if value == now else other.append(f"{words} (there {value})")
    line = f"as in {run}: {', '.join(same) or 'nothing'}"
    return f"{line}; other than there: {', '.join(other)}" if other else line


_SHOWN = ("corpus", "vocab_size", "width", "heads")
"""Settings that the line always names; others are named only if they differ."""
