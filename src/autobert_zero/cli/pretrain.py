"""`pretrain`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autobert_zero.cli.app import TRAINING, Result, command
from autobert_zero.cli.backbones import HELP as BACKBONE
from autobert_zero.cli.backbones import find_backbone
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
"""Where torchrun, `accelerate launch` and the kinds of mpirun write which of their processes this one is."""

DISTILLED_RATE = 1e-3
"""Peak rate of a distillation that starts from weights: that of a preset is for new ones."""


def how_to_go_on(options: Mapping[str, Any]) -> str | None:
    """How to go on after a stop; None: another one of several processes prints it."""
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
    """Trains by masked tokens, or by a teacher; the result is the first process's.

    Args:
        command: `pretrain` or `distil`.
        options: Options of the command, by name.
    """
    out, resume = options["out"], options["resume"]
    require(command, "pretrain", "transformers", "tensorboard")
    quiet_transformers()
    from autobert_zero.pretrain.launch import launched
    from autobert_zero.pretrain.run import run_pretraining
    from autobert_zero.run_folder import check_new

    resolved, taken_over = resolved_pretraining(options, command)
    if not resume:
        check_new(out)
    accelerator = launched(resolved.device)
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
    """The config: that of a continued training, or that of the options."""
    return resolved_pretraining(options, command)[0]


def resolved_pretraining(options: Mapping[str, Any], command: str) -> "tuple[PretrainConfig, str]":
    """The config, and a line about what is taken over from what the options name; empty: nothing.

    What a command needs may be named by an option, in the file of --config or with --set.

    Args:
        options: Options of the command, by name.
        command: `pretrain`, `distil`, or `plan`, which without a backbone takes BERT's.

    Raises:
        UserError: An option cannot be used, or what the command needs is not named.
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
    """Settings of what a training starts from, or of the run that --backbone names.

    A training that starts from weights has to have their sizes. Another one takes over what the backbone was
    found with, except for the sizes where the preset is one of certain sizes. How a corpus is read is not
    taken over where another one is given.
    """
    if start is not None:
        from autobert_zero.pretrain.start import open_start

        settings = open_start(start).settings
        if backbone is not None and "feed_forward" in settings["model"]:
            _check_width(Path(backbone), start, settings["model"]["feed_forward"])
    else:
        settings = _settings_of(Path(backbone), options["preset"]) if backbone else {}
    if options["corpus"] and "data" in settings:
        left = ("corpus", "text_column", "document")
        settings["data"] = {name: value for name, value in settings["data"].items() if name not in left}
    return settings


def _check_width(run: Path, start: str, inner: int) -> None:
    """Checks that layers which a search found with narrower feed-forward blocks are not given wider ones."""
    from autobert_zero.run_folder import SEARCH, kind_of
    from autobert_zero.run_folder.names import BEST
    from autobert_zero.search.config import read_search_config

    if not _is_folder(run) or kind_of(run) is not SEARCH:
        return
    config = read_search_config(run)
    if config.space.narrow and config.model.feed_forward < inner:
        raise UserError(
            f"the search in {run} found its layers with feed-forward blocks of {config.model.feed_forward}, "
            f"{start} has {inner}: go on with the winner by --start {run}, or name {run / BEST}.txt"
        )


def _chosen_backbone(start: str | None, layers: int | None) -> "Backbone":
    """The backbone of what the training starts from; without any BERT's."""
    if start is not None:
        from autobert_zero.pretrain.start import open_start

        if (own := open_start(start).backbone) is not None:
            return own
    return find_backbone(start or "bert", layers)


def _settings_of(run: Path, preset: str) -> dict[str, Any]:
    """Text and sizes of a run of ours, without the sizes for a preset that has its own."""
    from autobert_zero.pretrain.folder import read_pretrain_config
    from autobert_zero.pretrain.presets import SIZED
    from autobert_zero.run_folder import PRETRAINING, SEARCH, kind_of
    from autobert_zero.search.config import read_search_config
    from autobert_zero.shared_config import CorpusConfig, ModelConfig

    kind = kind_of(run) if _is_folder(run) else None
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


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a formula too long for a file name
        return False


def _inherited_line(run: str, settings: Mapping[str, Any], config: "PretrainConfig") -> str:
    """A line about what is taken over from a run, and what is not."""
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
"""Settings that are named where a run's are taken over; the rest is named where it differs."""
