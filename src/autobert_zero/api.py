"""The front door: what the commands `search`, `pretrain`, `finetune` and `draw` do, from plain arguments.

They are called as `autobert_zero.search(...)` and so on. Settings have the names that `--set` takes, for
example `{"model.width": 128}`; paths may be strings. Progress goes to standard error, and Ctrl-C leaves a
folder that `resume=True`, or for a fine-tuning the same call, continues.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autobert_zero.errors import UserError
from autobert_zero.sources import expanded, in_home
from autobert_zero.space import Backbone

if TYPE_CHECKING:
    from autobert_zero.finetune.results.scores import Score


def search(
    out: str | Path,
    *,
    preset: str = "demo",
    corpus: str | Path | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    seed_backbones: Backbone | str | Sequence[Backbone | str] = (),
    start: str | Path | None = None,
    max_latency_ms: float | None = None,
    min_speedup: float | None = None,
    workers: int = 0,
    resume: bool = False,
    quiet: bool = False,
) -> Backbone:
    """Searches for a backbone and compares the winner with stacks that people build by hand.

    Args:
        out: The run folder: new, or with `resume` that of an earlier run. All results are in it.
        preset: `demo`, `small` or `paper`.
        corpus: A file, a folder, or a dataset on the Hub; None: the preset's.
        seed: Random seed; None: the preset's.
        settings: Any further settings, by their dotted names.
        seed_backbones: One or more backbones, proposed before any other.
        start: A model to search from, whose students the candidates are: a folder or a name on the Hub.
        max_latency_ms: Maximum latency of a candidate's layers, measured here; None: no limit.
        min_speedup: Minimum speed-up of a candidate's layers over those of `start`.
        workers: Local processes that train models; 0: one per core. It changes the time, not the result.
        resume: Whether to continue the run in `out`; it keeps its settings.
        quiet: Whether to show no progress.

    Returns:
        The winner.

    Raises:
        UserError: An argument cannot be used; nothing was written then.
    """
    from autobert_zero.cli.search import search_settings
    from autobert_zero.progress import log_console
    from autobert_zero.report.artifacts import attach_pictures
    from autobert_zero.run_folder import check_new
    from autobert_zero.search.progress import RunProgress
    from autobert_zero.search_runs.run import run_search

    folder = expanded(out)
    options = _options(folder, preset, corpus, seed, settings, resume)
    options |= {"max_params": None, "max_latency_ms": max_latency_ms, "min_speedup": min_speedup}
    options |= {"start": _in_home(start), "storage": None}
    given = (seed_backbones,) if isinstance(seed_backbones, Backbone | str) else seed_backbones
    config, first = search_settings(options | {"seed_backbone": [*map(str, given)]})
    if not resume:
        check_new(folder)
    with RunProgress(log_console(), quiet) as progress:
        summary = run_search(config, folder, progress, first, workers)
    attach_pictures(folder)
    return Backbone.from_list(summary["best"]["backbone"])


def pretrain(
    out: str | Path,
    backbone: Backbone | str | Path | None = None,
    *,
    preset: str = "demo",
    corpus: str | Path | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    layers: int | None = None,
    start: str | Path | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Pre-trains a backbone into a folder that `finetune` and `transformers` load.

    Args:
        out: The model folder: new, or with `resume` that of an earlier training.
        backbone: A backbone; a formula; a stack (`bert`, `hybrid`, ...); a name of the zoo; a run folder; or
            a file. None only with `start` or `resume`.
        preset: `demo`, `small` or `base`.
        corpus: A file, a folder, or a dataset on the Hub; None: that of a run that is named, or the preset's.
        seed: Random seed; None: the preset's.
        settings: Any further settings, by their dotted names.
        layers: Depth of a stack; None: 4.
        start: What the training starts from: a model (a folder or a name on the Hub: ours, a BERT or a
            ModernBERT), or the run folder of a search with shared weights.
        resume: Whether to continue the training in `out`; it keeps its settings.
        quiet: Whether to show no progress.

    Returns:
        The summary, as in `summary.json`: held-out loss, tokens, seconds and more.

    Raises:
        UserError: An argument cannot be used; nothing was written then.
    """
    from autobert_zero.cli.pretrain import pretrain_settings
    from autobert_zero.extras import require
    from autobert_zero.progress import Bars, log_console
    from autobert_zero.run_folder import check_new

    require("pretrain", "pretrain", "transformers", "tensorboard")
    from autobert_zero.pretrain.run import run_pretraining

    folder = expanded(out)
    options = _options(folder, preset, corpus, seed, settings, resume)
    options |= {"backbone": _in_home(backbone), "layers": layers}
    config = pretrain_settings(options | {"start": _in_home(start)}, "pretrain")
    if not resume:
        check_new(folder)
    with Bars(log_console(), quiet) as progress:
        return run_pretraining(config, folder, progress)


def finetune(
    model: str | Path,
    task: str | Path,
    out: str | Path,
    *,
    data: str | Path | None = None,
    rates: float | Sequence[float] = (3e-4, 1e-3, 3e-3),
    seeds: int = 3,
    settings: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> "Score":
    """Fine-tunes a model on a task: every learning rate with the first seed, the best one with the others.

    Args:
        model: A model folder, or a name on the Hub.
        task: A task of GLUE, `squad`, `squad_v2`, or a YAML file.
        out: Folder for results and predictions; the same call continues what was stopped in it.
        data: Folder with the task's files; None: from the Hub.
        rates: One or more learning rates.
        seeds: Number of seeds.
        settings: Any settings of the fine-tuning, for example `{"epochs": 5}`.
        quiet: Whether to show no progress.

    Returns:
        Mean and standard deviation over the seeds of every metric, and the chosen rate.

    Raises:
        UserError: An argument cannot be used; nothing was trained then.
    """
    from autobert_zero.extras import require
    from autobert_zero.progress import Bars, log_console

    require("finetune", "finetune")
    from autobert_zero.cli.common import settings_of
    from autobert_zero.finetune.config import FinetuneConfig
    from autobert_zero.finetune.suite import finetune_task as run
    from autobert_zero.settings import resolve

    given = {"rates": [rates] if isinstance(rates, float | int) else list(rates), "seeds": seeds}
    chosen = resolve(FinetuneConfig(), settings_of(FinetuneConfig, None, _assignments(settings), given))
    folder = None if data is None else expanded(data)
    with Bars(log_console(), quiet) as progress:
        return run(in_home(str(model)), in_home(str(task)), folder, expanded(out), chosen, progress)


def draw(backbone: Backbone | str | Path, out: str | Path | None = None, *, layers: int | None = None) -> str:
    """Draws a backbone: its layers, and each attention as its graph with the fused part shaded.

    Args:
        backbone: A backbone, or what `pretrain` takes as one.
        out: The picture to write, `.svg`, `.png` or `.pdf`; None: none.
        layers: Depth of a stack; None: 4.

    Returns:
        The picture as SVG.

    Raises:
        UserError: There is no such backbone, or the file cannot be written.
    """
    from autobert_zero.cli.backbones import find_backbone
    from autobert_zero.report import draw as drawing

    if isinstance(backbone, Backbone) and layers is not None:
        raise UserError("a backbone has a depth of its own: leave layers out")
    drawn = backbone if isinstance(backbone, Backbone) else find_backbone(str(backbone), layers)
    if out is not None:
        drawing.write(drawn, expanded(out))
    return drawing.svg(drawn)


def _options(
    out: Path,
    preset: str,
    corpus: str | Path | None,
    seed: int | None,
    settings: Mapping[str, Any] | None,
    resume: bool,
) -> dict[str, Any]:
    """The options that a search and a pre-training have in common, as their commands take them."""
    return {
        "out": out,
        "preset": preset,
        "corpus": _in_home(corpus),
        "seed": seed,
        "set_": _assignments(settings),
        "resume": resume,
        **dict.fromkeys(("config", "text_column", "tokenizer", "device")),
    }


def _in_home(source: Backbone | str | Path | None) -> str | None:
    return None if source is None else in_home(str(source))


def _assignments(settings: Mapping[str, Any] | None) -> list[str]:
    """Settings as `--set` takes them."""
    import yaml

    plain = json.loads(json.dumps(dict(settings or {}), default=_plain))
    assignments = []
    for name, value in plain.items():
        # In a list, so that a single value has no end mark.
        text: str = yaml.safe_dump([value], default_flow_style=True, width=math.inf)
        assignments.append(f"{name}={text.strip()[1:-1]}")
    return assignments


def _plain(value: Any) -> Any:
    """A path or a number of NumPy as JSON has it.

    Raises:
        UserError: It is something else.
    """
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item"):
        return value.item()
    raise UserError(f"a setting must be a number, a text or a list, not {type(value).__name__}")
