"""`plan`: what a run will take."""

from pathlib import Path
from typing import Annotated, Any

import typer

from autobert_zero.cli.app import app
from autobert_zero.cli.common import (
    find_backbone,
    parse_rates,
    settled,
)
from autobert_zero.cli.options import (
    BatchSize,
    Config,
    Devices,
    Epochs,
    Hardware,
    Length,
    Model,
    Rates,
    Seeds,
    Set,
)
from autobert_zero.errors import UserError
from autobert_zero.progress import quiet_transformers

plan_app = typer.Typer(no_args_is_help=True, help="Parameters, FLOPs, memory and time before any run.")
app.add_typer(plan_app, name="plan")


@plan_app.command("search")
def plan_search(
    preset: Annotated[str, typer.Option(help="demo, small or paper.")] = "demo",
    config: Config = None,
    set_: Set = None,
    hardware: Hardware = None,
    devices: Devices = 1,
) -> None:
    """What a search will take, with its comparison at the end."""
    from autobert_zero import config as configs
    from autobert_zero.plan import plan
    from autobert_zero.presets import PRESETS
    from autobert_zero.search.parts import search_parts

    resolved = settled(PRESETS, preset, (), config, set_)
    assert isinstance(resolved, configs.SearchConfig)
    sizes = resolved.model.encoder_config(resolved.data.vocab_size, resolved.data.length)
    device = _measured_on(resolved.device, hardware)
    typer.echo(plan(search_parts(resolved), sizes, hardware, devices, resolved.precision, device))


@plan_app.command("pretrain")
def plan_pretrain(
    backbone: Annotated[
        str | None, typer.Option(help="As pretrain takes it; bert, or the config's, if none is named.")
    ] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Depth, for bert, hybrid, convolution.")] = None,
    preset: Annotated[str, typer.Option(help="demo, small or base.")] = "demo",
    config: Config = None,
    set_: Set = None,
    hardware: Hardware = None,
    devices: Devices = 1,
) -> None:
    """What a pre-training will take."""
    from autobert_zero.plan import plan
    from autobert_zero.pretrain.config import PretrainConfig
    from autobert_zero.pretrain.parts import pretrain_parts
    from autobert_zero.pretrain.presets import PRESETS

    found = find_backbone(backbone or "bert", layers)
    options = {} if backbone is None else {"backbone": found.to_list()}
    resolved = settled(PRESETS, preset, (found,), config, set_, options)
    assert isinstance(resolved, PretrainConfig)
    sizes = resolved.model.encoder_config(resolved.text.vocab_size, resolved.positions)
    device = _measured_on(resolved.device, hardware)
    typer.echo(plan(pretrain_parts(resolved, devices), sizes, hardware, devices, resolved.precision, device))


@plan_app.command("finetune")
def plan_finetune(
    model: Model,
    task: Annotated[str, typer.Option(help="As finetune takes it.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder with the task's files; else from the Hub.")
    ] = None,
    rates: Rates = "3e-4,1e-3,3e-3",
    seeds: Seeds = 3,
    epochs: Epochs = 3,
    batch_size: BatchSize = 32,
    length: Length = 128,
    hardware: Hardware = None,
    devices: Devices = 1,
) -> None:
    """What a fine-tuning will take, with all its rates and seeds, if none stops early."""
    quiet_transformers()
    from statistics import fmean

    import autobert_zero.hf
    from autobert_zero.estimate import Part
    from autobert_zero.finetune.suite import make_problem
    from autobert_zero.finetune.train import load_config, load_tokenizer
    from autobert_zero.plan import plan

    settings = load_config(model)
    if not isinstance(settings, autobert_zero.hf.AutoBertZeroConfig):
        raise UserError(f"{model} is a model of type {settings.model_type}; plan knows autobert-zero only")
    sizes = settings.encoder_config()
    features = make_problem(
        task, data, load_tokenizer(model), min(length, sizes.length_limit or length)
    ).features
    runs = len(parse_rates(rates)) + seeds - 1
    train = features["train"]
    usual = max(round(fmean(train.length(index) for index in range(len(train)))), 1)
    sequences = runs * epochs * len(train)
    part = Part(f"{runs} trainings", settings.parse_backbone(), usual, batch_size, sequences)
    typer.echo(plan([part], sizes, hardware, devices, "auto", _measured_on("auto", hardware)))


def _measured_on(device: str, hardware: str | None) -> Any:
    """Where to measure; a planned device need not be at hand where nothing is measured."""
    from autobert_zero.devices import find_device

    return find_device(device if hardware is None else "cpu")
