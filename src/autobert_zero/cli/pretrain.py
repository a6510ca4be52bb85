"""`pretrain`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autobert_zero.cli.app import app
from autobert_zero.cli.backbones import HELP as BACKBONE
from autobert_zero.cli.backbones import find_backbone
from autobert_zero.cli.common import check_resumed, settings_given, settled, stop_told
from autobert_zero.cli.options import Corpus, Layers, TextColumn
from autobert_zero.errors import UserError
from autobert_zero.extras import require
from autobert_zero.progress import Bars, log_console, quiet_transformers

if TYPE_CHECKING:
    from autobert_zero.pretrain.config import PretrainConfig


@app.command()
def pretrain(
    out: Annotated[Path, typer.Option(help="Folder; new, or with --resume one of an earlier training.")],
    backbone: Annotated[str | None, typer.Option(help=BACKBONE)] = None,
    layers: Layers = None,
    preset: Annotated[str, typer.Option(help="demo, small or base.")] = "demo",
    config: Annotated[Path | None, typer.Option(help="YAML file of settings, over the preset.")] = None,
    corpus: Corpus = None,
    text_column: TextColumn = None,
    tokenizer: Annotated[str | None, typer.Option(help="tokenizer.json, its folder, or a Hub name.")] = None,
    start: Annotated[
        Path | None, typer.Option(help="Run of a search: start from its shared weights and its sizes.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The model is a function of config and seed.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, e.g. recipe.learning_rate=1e-3.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the training in --out.")] = False,
) -> None:
    """Pre-train a backbone: masked tokens, with or without next sentences."""
    options = dict(locals())  # all options by their names
    require("pretrain", "pretrain", "transformers", "tensorboard")
    quiet_transformers()
    from autobert_zero.pretrain.launch import launched
    from autobert_zero.pretrain.run import run_pretraining
    from autobert_zero.run_folder import check_new, kind_of

    if not resume and backbone is None and start is None:
        raise UserError("name a backbone with --backbone, or a search with --start")
    resolved = pretrain_settings(options)
    if not resume:
        check_new(out)
    accelerator = launched(resolved.device)
    follows = accelerator is not None and not accelerator.is_main_process

    def how() -> str:
        if kind_of(out) is None:
            return "nothing was trained yet: give the same call again"
        return f"continue with: autobert-zero pretrain --out {out} --resume"

    with stop_told(how, quiet=follows), Bars(log_console(), quiet=follows) as progress:
        summary = run_pretraining(resolved, out, progress)
    if not follows:
        typer.echo(
            f"loss {summary['holdout_loss']:.4f}, MLM accuracy {summary['holdout_mlm_accuracy']:.4f} on "
            f"held-out text after {summary['tokens']:,} tokens ({summary['seconds']:.0f} s); "
            f"the model is in {out}"
        )


def pretrain_settings(options: Mapping[str, Any]) -> "PretrainConfig":
    """The config: of the training that is continued, or as the options say; without a backbone BERT's.

    Args:
        options: Those of the command, by name.
    """
    from autobert_zero.pretrain.presets import PRESETS
    from autobert_zero.pretrain.run import read_config

    if options["resume"]:
        check_resumed(options)
        return read_config(options["out"])
    settings = settings_given(options, "text")
    start = options["start"]
    if start is not None:
        searched = _sizes_of_search(start)
        text = {} if options["corpus"] else searched["text"]
        settings |= searched | {"text": text | settings["text"]}
    backbone = find_backbone(str(options["backbone"] or start or "bert"), options["layers"])
    if options["backbone"] is not None:
        settings["backbone"] = backbone.to_list()
    return settled(PRESETS, options["preset"], (backbone,), options["config"], options["set_"], settings)


def _sizes_of_search(run: Path) -> dict[str, Any]:
    """What a training that starts from a search's weights has to have in common with it."""
    from autobert_zero.pretrain.model import search_config

    searched = search_config(run)
    sizes = searched.model.model_dump(exclude={"layers"})
    text = {name: getattr(searched.data, name) for name in ("corpus", "text_column", "document")}
    return {"start": str(run), "model": sizes, "text": text}
