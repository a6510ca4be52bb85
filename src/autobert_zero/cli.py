"""The command line: parse, make a config, one call. Heavy imports are inside the commands."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from autobert_zero.errors import UserError
from autobert_zero.progress import Bars

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Discover language-model backbones.",
)


plan_app = typer.Typer(no_args_is_help=True, help="Parameters, FLOPs, memory and time before any run.")
app.add_typer(plan_app, name="plan")


@app.callback()
def _root() -> None:
    """Discover language-model backbones."""


@app.command()
def search(
    out: Annotated[Path, typer.Option(help="Run folder; new, or with --resume one of an earlier run.")],
    preset: Annotated[str, typer.Option(help="demo, small or paper.")] = "demo",
    config: Annotated[Path | None, typer.Option(help="YAML file of settings, over the preset.")] = None,
    corpus: Annotated[
        str | None, typer.Option(help="kjv, a file, a folder, or a dataset on the Hub.")
    ] = None,
    tokenizer: Annotated[str | None, typer.Option(help="tokenizer.json, its folder, or a Hub name.")] = None,
    seed: Annotated[int | None, typer.Option(help="The run is a function of config and seed.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, as key=value, e.g. model.width=128.")
    ] = None,
    seed_backbone: Annotated[
        list[Path] | None, typer.Option(help="File with a backbone for the first population.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
) -> None:
    """Search for a backbone and compare the winner with BERT, a hybrid and convolutions only."""
    from rich.console import Console

    from autobert_zero import config as configs
    from autobert_zero.presets import PRESETS
    from autobert_zero.search.progress import RunProgress
    from autobert_zero.search.run import check_new, read_run, run_search

    changed = [config, corpus, tokenizer, seed, *(set_ or []), *(seed_backbone or [])]
    if resume:
        if any(value is not None for value in changed) or preset != "demo":
            raise UserError("a resumed run keeps its config: give --resume and --out only")
        resolved, first = read_run(out)
    else:
        if preset not in PRESETS:
            raise UserError(f"unknown preset {preset!r}; there are {', '.join(PRESETS)}")
        options: dict[str, Any] = {"data": {}}
        if corpus is not None:
            options["data"]["corpus"] = corpus
        if tokenizer is not None:
            options["data"]["tokenizer"] = tokenizer
        if seed is not None:
            options["seed"] = seed
        resolved = configs.resolve(
            PRESETS[preset](),
            configs.read_yaml(config) if config else {},
            *map(configs.parse_setting, set_ or []),
            options,
        )
        check_new(out)
        for path in seed_backbone or []:
            if not path.exists():
                raise UserError(f"there is no file {path} for --seed-backbone")
        first = [_read_backbone(str(path)) for path in seed_backbone or []]
    console = Console()
    how = f"continue with: autobert-zero search --out {out} --resume"
    with _stop_told(how), RunProgress(console) as progress:
        run_search(resolved, out, progress, first)
    console.print(
        (out / "summary.md").read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True
    )
    console.print(f"everything is in {out}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def describe(
    backbone: Annotated[
        str, typer.Argument(help="A formula, a file with one layer a line, or a run folder.")
    ],
    width: Annotated[int, typer.Option(min=1, help="Hidden size d.")] = 768,
    heads: Annotated[int, typer.Option(min=1, help="Heads H.")] = 12,
    length: Annotated[int, typer.Option(min=1, help="Tokens in a sequence.")] = 128,
    vocab_size: Annotated[int, typer.Option(min=1, help="Tokens in the vocabulary.")] = 30522,
    measure: Annotated[bool, typer.Option("--measure", help="Time every layer on this machine.")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Sequences in a batch, for --measure.")] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ..., for --measure.")] = "auto",
) -> None:
    """Print each layer's canonical form, types, what it compiles to, parameters, FLOPs and memory."""
    from autobert_zero.describe import describe_backbone

    read = _read_backbone(backbone)
    text = describe_backbone(read, width, heads, length, vocab_size)  # before measuring: checks the sizes
    if measure:
        from autobert_zero.devices import describe_device, find_device
        from autobert_zero.measure import measure_backbone

        where = find_device(device)
        measured = measure_backbone(read, width, heads, length, batch, where)
        text = describe_backbone(read, width, heads, length, vocab_size, measured)
        text += f"\n({batch} x {length} tokens on {describe_device(where)}, single precision)"
    typer.echo(text)


@app.command()
def zoo(
    name: Annotated[str | None, typer.Argument(help="Print this one's backbone, one layer a line.")] = None,
) -> None:
    """List the known backbones, or print one."""
    from autobert_zero.zoo import find, list_zoo

    typer.echo(list_zoo() if name is None else find(name).backbone)


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="A finished run, or a folder of save_pretrained.")],
    out: Annotated[Path, typer.Argument(help="New folder for the exported model.")],
    onnx: Annotated[bool, typer.Option(help="Write model.onnx, checked with onnxruntime.")] = True,
    program: Annotated[bool, typer.Option(help="Write model.pt2, a torch.export program.")] = True,
) -> None:
    """Write a model so that it can be used without this package."""
    from rich.console import Console

    from autobert_zero.export import export as write

    console = Console()
    formats = tuple(name for name, wanted in (("torch", program), ("onnx", onnx)) if wanted)
    with console.status("reading the model") as status:
        programs = write(source, out, formats, status.update)
    for each in programs:
        typer.echo(f"{each.file}: differs from PyTorch by at most {each.difference:.1e}")
    typer.echo(f"everything is in {out}; it loads with trust_remote_code=True")


@app.command()
def pretrain(
    out: Annotated[Path, typer.Option(help="Folder; new, or with --resume one of an earlier training.")],
    backbone: Annotated[
        str | None, typer.Option(help="A name of the zoo, a formula, a file with one layer a line, or a run.")
    ] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Depth, for bert, hybrid, convolution.")] = None,
    preset: Annotated[str, typer.Option(help="demo, small or base.")] = "demo",
    config: Annotated[Path | None, typer.Option(help="YAML file of settings, over the preset.")] = None,
    corpus: Annotated[
        str | None, typer.Option(help="kjv, a file, a folder, or a dataset on the Hub.")
    ] = None,
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
    from rich.console import Console

    from autobert_zero import config as configs

    _quiet_transformers()
    from autobert_zero.pretrain.presets import PRESETS
    from autobert_zero.pretrain.run import check_new, launched, read_config, run_pretraining

    changed = [backbone, layers, config, corpus, tokenizer, start, seed, *(set_ or [])]
    if resume:
        if any(value is not None for value in changed) or preset != "demo":
            raise UserError("a resumed training keeps its config: give --resume and --out only")
        resolved = read_config(out)
    else:
        if preset not in PRESETS:
            raise UserError(f"unknown preset {preset!r}; there are {', '.join(PRESETS)}")
        if backbone is None and start is None:
            raise UserError("name a backbone with --backbone, or a search with --start")
        found = _find_backbone(str(backbone or start), layers)
        options: dict[str, Any] = {"text": {}}
        for key, value in (("corpus", corpus), ("tokenizer", tokenizer)):
            if value is not None:
                options["text"][key] = value
        if seed is not None:
            options["seed"] = seed
        if start is not None:
            options |= _sizes_of_search(start)
        resolved = configs.resolve(
            PRESETS[preset](found),
            configs.read_yaml(config) if config else {},
            options,
            *map(configs.parse_setting, set_ or []),
        )
        check_new(out)
    follows = (accelerator := launched()) is not None and not accelerator.is_main_process
    how = f"continue with: autobert-zero pretrain --out {out} --resume"
    with _stop_told(how), Bars(Console(), quiet=follows) as progress:
        summary = run_pretraining(resolved, out, progress)
    if not follows:
        typer.echo(
            f"loss {summary['holdout_loss']:.4f}, MLM accuracy {summary['holdout_mlm_accuracy']:.4f} on "
            f"held-out text after {summary['tokens']:,} tokens ({summary['seconds']:.0f} s); "
            f"the model is in {out}"
        )


def _find_backbone(source: str, layers: int | None) -> Any:
    """A backbone of the zoo or of the user; the reference ones in the depth that is asked for."""
    from autobert_zero.zoo import OPPONENTS, ZOO

    if source in OPPONENTS:
        return OPPONENTS[source](layers or 4)
    if layers is not None:
        raise UserError(f"--layers is for {', '.join(OPPONENTS)}; other backbones have their own depth")
    return ZOO[source].backbone if source in ZOO else _read_backbone(source)


def _sizes_of_search(run: Path) -> dict[str, Any]:
    """What a training that starts from a search's weights has to have in common with it."""
    from autobert_zero.pretrain.model import search_config

    searched = search_config(run)
    sizes = searched.model.model_dump(exclude={"layers"})
    return {"start": str(run), "model": sizes, "text": {"corpus": searched.data.corpus}}


_Model = Annotated[str, typer.Option(help="Folder of a saved or exported model, or a Hub name.")]
_Results = Annotated[Path, typer.Option(help="Folder for results; the same call continues what is in it.")]
_Rates = Annotated[str, typer.Option(help="Learning rates to try with the first seed.")]
_Seeds = Annotated[int, typer.Option(min=1, help="Number of seeds.")]
_Epochs = Annotated[int, typer.Option(min=1, help="Most passes over the training data.")]
_BatchSize = Annotated[int, typer.Option(min=1, help="Sequences in a batch.")]
_Length = Annotated[int, typer.Option(min=8, help="Most tokens of a sequence.")]
_Device = Annotated[str, typer.Option(help="auto, cpu, cuda, ...")]
_Hardware = Annotated[
    str | None, typer.Option(help="t4, v100, rtx3090, rtx4090, a100 or h100; else steps measured here.")
]
_Devices = Annotated[int, typer.Option(min=1, help="How many devices share the work.")]
_Config = Annotated[Path | None, typer.Option(help="YAML file of settings, over the preset.")]
_Set = Annotated[list[str] | None, typer.Option("--set", help="Any setting, as key=value.")]


@plan_app.command("search")
def plan_search(
    preset: Annotated[str, typer.Option(help="demo, small or paper.")] = "demo",
    config: _Config = None,
    set_: _Set = None,
    hardware: _Hardware = None,
    devices: _Devices = 1,
) -> None:
    """What a search will take, with its comparison at the end."""
    from autobert_zero import config as configs
    from autobert_zero.nn import EncoderConfig
    from autobert_zero.plan import plan, search_parts
    from autobert_zero.presets import PRESETS

    resolved = _settled(PRESETS, preset, (), config, set_)
    assert isinstance(resolved, configs.SearchConfig)
    model = resolved.model
    sizes = EncoderConfig(
        resolved.data.vocab_size, model.width, model.heads, model.feed_forward, resolved.data.length
    )
    device = _measured_on(resolved.device, hardware)
    typer.echo(plan(search_parts(resolved), sizes, hardware, devices, resolved.precision, device))


@plan_app.command("pretrain")
def plan_pretrain(
    backbone: Annotated[
        str, typer.Option(help="A name of the zoo, a formula, a file with one layer a line, or a run.")
    ] = "bert",
    layers: Annotated[int | None, typer.Option(min=1, help="Depth, for bert, hybrid, convolution.")] = None,
    preset: Annotated[str, typer.Option(help="demo, small or base.")] = "demo",
    config: _Config = None,
    set_: _Set = None,
    hardware: _Hardware = None,
    devices: _Devices = 1,
) -> None:
    """What a pre-training will take."""
    from autobert_zero.nn import EncoderConfig
    from autobert_zero.plan import plan, pretrain_parts
    from autobert_zero.pretrain.config import PretrainConfig
    from autobert_zero.pretrain.presets import PRESETS

    resolved = _settled(PRESETS, preset, (_find_backbone(backbone, layers),), config, set_)
    assert isinstance(resolved, PretrainConfig)
    model = resolved.model
    sizes = EncoderConfig(
        resolved.text.vocab_size, model.width, model.heads, model.feed_forward, resolved.positions
    )
    device = _measured_on(resolved.device, hardware)
    typer.echo(plan(pretrain_parts(resolved), sizes, hardware, devices, resolved.precision, device))


@plan_app.command("finetune")
def plan_finetune(
    model: _Model,
    task: Annotated[str, typer.Option(help="As finetune takes it.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder with the task's files; else from the Hub.")
    ] = None,
    rates: _Rates = "3e-4,1e-3,3e-3",
    seeds: _Seeds = 3,
    epochs: _Epochs = 3,
    batch_size: _BatchSize = 32,
    length: _Length = 128,
    hardware: _Hardware = None,
    devices: _Devices = 1,
) -> None:
    """What a fine-tuning will take, with all its rates and seeds, if none stops early."""
    _quiet_transformers()
    from statistics import fmean

    import transformers

    import autobert_zero.hf
    from autobert_zero.finetune.suite import make_problem
    from autobert_zero.finetune.train import load_tokenizer
    from autobert_zero.plan import Part, plan

    settings = transformers.AutoConfig.from_pretrained(model)
    if not isinstance(settings, autobert_zero.hf.AutoBertZeroConfig):
        raise UserError(f"{model} is a model of type {settings.model_type}; plan knows autobert-zero only")
    sizes = settings.encoder_config()
    features = make_problem(task, data, load_tokenizer(model), min(length, sizes.max_positions)).features
    runs = len(_rates(rates)) + seeds - 1
    train = features["train"]
    usual = max(round(fmean(train.length(index) for index in range(len(train)))), 1)
    sequences = runs * epochs * len(train)
    part = Part(f"{runs} trainings", settings.parse_backbone(), usual, batch_size, sequences)
    typer.echo(plan([part], sizes, hardware, devices, "auto", _measured_on("auto", hardware)))


def _settled(
    presets: Mapping[str, Callable[..., Any]],
    preset: str,
    arguments: tuple[Any, ...],
    config: Path | None,
    set_: list[str] | None,
) -> Any:
    """A preset with the user's settings laid over it."""
    from autobert_zero import config as configs

    if preset not in presets:
        raise UserError(f"unknown preset {preset!r}; there are {', '.join(presets)}")
    return configs.resolve(
        presets[preset](*arguments),
        configs.read_yaml(config) if config else {},
        *map(configs.parse_setting, set_ or []),
    )


def _measured_on(device: str, hardware: str | None) -> Any:
    """Where to measure; a planned device need not be at hand where nothing is measured."""
    from autobert_zero.devices import find_device

    return find_device(device if hardware is None else "cpu")


@app.command()
def finetune(
    model: _Model,
    task: Annotated[str, typer.Option(help="A GLUE task, squad, squad_v2, or a YAML file of your own.")],
    out: _Results,
    data: Annotated[
        Path | None, typer.Option(help="Folder with the task's files; else from the Hub.")
    ] = None,
    rates: _Rates = "3e-4,1e-3,3e-3",
    seeds: _Seeds = 3,
    epochs: _Epochs = 3,
    batch_size: _BatchSize = 32,
    length: _Length = 128,
    device: _Device = "auto",
) -> None:
    """Fine-tune a model on a task, with several learning rates and seeds."""
    from rich.console import Console

    _quiet_transformers()
    from autobert_zero.finetune.suite import finetune as run
    from autobert_zero.finetune.suite import table
    from autobert_zero.finetune.train import Settings

    settings = Settings(epochs=epochs, batch_size=batch_size, length=length, device=device)
    with _stop_told("the same call continues"), Bars(Console()) as progress:
        score = run(model, task, data, out, _rates(rates), range(seeds), settings, progress)
    typer.echo("\n" + table([score]))


@app.command()
def glue(
    model: _Model,
    out: _Results,
    data: Annotated[
        Path | None, typer.Option(help="Folder with a folder for each task; else the Hub.")
    ] = None,
    tasks: Annotated[str | None, typer.Option(help="Names; else all that there are.")] = None,
    rates: _Rates = "3e-4,1e-3,3e-3",
    seeds: _Seeds = 3,
    epochs: _Epochs = 3,
    batch_size: _BatchSize = 32,
    length: _Length = 128,
    device: _Device = "auto",
) -> None:
    """Fine-tune a model on every GLUE task that there is, and print the table with the average."""
    from rich.console import Console

    _quiet_transformers()
    from autobert_zero.finetune.suite import finetune as run
    from autobert_zero.finetune.suite import table
    from autobert_zero.finetune.tasks import TASKS, find_task
    from autobert_zero.finetune.train import Settings

    names = tasks.split(",") if tasks else [name for name in TASKS if data is None or (data / name).is_dir()]
    if not names:
        raise UserError(f"{data} has no folder of a GLUE task; there are {', '.join(TASKS)}")
    names = [find_task(name).name for name in names]  # before anything is trained
    settings = Settings(epochs=epochs, batch_size=batch_size, length=length, device=device)
    chosen, scores = _rates(rates), []
    with _stop_told("the same call continues"), Bars(Console()) as progress:
        for name in names:
            place = None if data is None else data / name
            scores.append(run(model, name, place, out / name, chosen, range(seeds), settings, progress))
    text = table(scores)
    (out / "table.md").write_text(text + "\n", encoding="utf-8")
    typer.echo("\n" + text)


@contextmanager
def _stop_told(how: str) -> Iterator[None]:
    """Turns Ctrl-C into one line that says how to go on, and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"stopped; {how}", file=sys.stderr)
        raise typer.Exit(130) from None


def _quiet_transformers() -> None:
    """Keeps it from listing, for every run, that the head is new and the old head is not used."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _rates(text: str) -> list[float]:
    try:
        rates = [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"learning rates are numbers with commas between them, not {text!r}") from None
    if not all(0 < rate < 1 for rate in rates):
        raise UserError(f"learning rates are between 0 and 1, not {text}")
    return rates


def _read_backbone(source: str) -> Any:
    """Reads a formula or layer, a file of layers (text or JSON), or a run folder's best."""
    from autobert_zero.space import Backbone

    path = Path(source)
    try:
        exists = bool(source.strip()) and path.exists()
    except OSError:  # a formula too long for a file name
        exists = False
    if not exists:
        if path.suffix in (".txt", ".json") or source.endswith("/"):
            raise UserError(f"there is no file {source}")
        return Backbone.parse(source)
    if path.is_dir():
        path = path / "best.txt"
        if not path.exists():
            raise UserError(f"{path.parent} has no best.txt; it is no finished run")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a readable text file: {error}") from None
    try:
        return Backbone.from_json(text) if path.suffix == ".json" else Backbone.parse(text)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def main() -> None:
    """Runs the command line: a user's mistake is one message and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
