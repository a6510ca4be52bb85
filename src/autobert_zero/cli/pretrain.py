"""`pretrain`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from autobert_zero.cli.app import app
from autobert_zero.cli.common import (
    check_resumed,
    find_backbone,
    options_given,
    settled,
    stop_told,
)
from autobert_zero.cli.options import Corpus, TextColumn
from autobert_zero.errors import UserError
from autobert_zero.progress import Bars, log_console, quiet_transformers


@app.command()
def pretrain(
    out: Annotated[Path, typer.Option(help="Folder; new, or with --resume one of an earlier training.")],
    backbone: Annotated[
        str | None, typer.Option(help="A name of the zoo, a formula, a file with one layer a line, or a run.")
    ] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Depth, for bert, hybrid, convolution.")] = None,
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
    quiet_transformers()
    from autobert_zero.pretrain.launch import launched
    from autobert_zero.pretrain.presets import PRESETS
    from autobert_zero.pretrain.run import check_new, is_training, read_config, run_pretraining

    changed = [backbone, layers, config, *(corpus or []), text_column, tokenizer, start, seed, *(set_ or [])]
    if resume:
        check_resumed(preset, changed)
        resolved = read_config(out)
    else:
        if backbone is None and start is None:
            raise UserError("name a backbone with --backbone, or a search with --start")
        options = options_given("text", corpus, text_column, tokenizer, seed)
        if start is not None:
            searched = _sizes_of_search(start)
            text = {} if corpus else searched["text"]
            options |= searched | {"text": text | options["text"]}
        found = find_backbone(str(backbone or start), layers)
        if backbone is not None:
            options["backbone"] = found.to_list()
        resolved = settled(PRESETS, preset, (found,), config, set_, options)
        check_new(out)
    accelerator = launched(resolved.device)
    follows = accelerator is not None and not accelerator.is_main_process

    def how() -> str:
        if not is_training(out):
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


def _sizes_of_search(run: Path) -> dict[str, Any]:
    """What a training that starts from a search's weights has to have in common with it."""
    from autobert_zero.pretrain.model import search_config

    searched = search_config(run)
    sizes = searched.model.model_dump(exclude={"layers"})
    text = {name: getattr(searched.data, name) for name in ("corpus", "text_column", "document")}
    return {"start": str(run), "model": sizes, "text": text}
