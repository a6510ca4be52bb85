"""The page of a report: template, style sheet, scripts and data, all in one HTML file."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from autobert_zero.errors import counted
from autobert_zero.minimal_pairs.results import remarks
from autobert_zero.out_file import replacing
from autobert_zero.report.curves import Comparison, Group, Interval, differing_settings, group_comparable
from autobert_zero.report.data import failures, pictured_candidates, run_data, saved_evaluations, statuses
from autobert_zero.report.draw import svg
from autobert_zero.report.lineage import lineage
from autobert_zero.report.pretraining import Pretraining, comparable, pretrainings
from autobert_zero.report.runs import ReportError, Run, read_reported_run
from autobert_zero.report.training_charts import charts
from autobert_zero.run_folder.names import SEARCH
from autobert_zero.search.summary_text import LABELS
from autobert_zero.urls import hide_passwords

_BEGIN = b"<!doctype html>"
"""The first characters of every page, in lower case."""


def write_report(folders: Sequence[Path], out: Path) -> Path:
    """Writes the report of one run or of several, finished or not.

    Args:
        folders: Run folders.
        out: The HTML file; an existing report is replaced.

    Returns:
        The file.

    Raises:
        ReportError: A folder holds no run, or the file holds no report.
        UserError: The file cannot be written.
    """
    html = read_page(folders)
    with replacing(out) as new:
        if out.is_file() and _first_bytes(out) not in (b"", _BEGIN):
            raise ReportError(f"{out} is a file other than a report; choose another -o")
        new.write_text(html, encoding="utf-8")
    return out


def _first_bytes(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(len(_BEGIN)).lower()


def read_page(folders: Sequence[Path]) -> str:
    """The page of one run or of several, as text; a run that is named twice is shown once.

    Raises:
        ReportError: A folder holds no run.
    """
    folders = list({folder.resolve(): folder for folder in reversed(folders)}.values())[::-1]
    trainings = pretrainings(folders)
    if trainings is not None:
        return render_pretrainings(trainings)
    return render([read_reported_run(folder) for folder in folders])


def render(runs: Sequence[Run]) -> str:
    """The page of searches as text."""
    comparisons = group_comparable(runs)
    groups = [group for comparison in comparisons for group in comparison.groups]
    counts = iter(range(len(groups)))
    data: dict[str, Any] = {
        "comparisons": [
            {"label": comparison.label, "groups": [next(counts) for _ in comparison.groups]}
            for comparison in comparisons
        ],
        "groups": [asdict(group) for group in groups],
        "runs": [],
        "pictures": [],
    }
    for run in runs:
        data["runs"].append(run_data(run))
        numbers = pictured_candidates(run, data["runs"][-1]["axes"])
        data["pictures"].append({str(n): svg(run.trials[n].proposal.backbone) for n in numbers})
    return _page(
        "report",
        runs,
        data,
        verdict=_verdict(runs, comparisons),
        comparisons=comparisons,
        several=max(group.seeds for group in groups) > 1,
        weights=_weights(runs),
        differences=differing_settings(runs) if len(runs) > 1 else [],
        labels={
            name: label for name, label in LABELS.items() if any(name in group.finals for group in groups)
        },
        distilled=all(run.config is not None and run.config.distil is not None for run in runs),
        runs=[_facts(run) for run in runs],
    )


def render_pretrainings(runs: Sequence[Pretraining]) -> str:
    """The page of pre-trainings as text."""
    data = {
        "names": [run.name for run in runs],
        "charts": charts(runs),
        "pictures": [svg(run.backbone) if run.backbone else None for run in runs],
    }
    verdict = runs[0].verdict if len(runs) == 1 else f"{len(runs)} pre-trainings."
    return _page("pretraining", runs, data, verdict=verdict, comparable=comparable(runs), runs=runs)


def _page(kind: str, named: Sequence[Run] | Sequence[Pretraining], data: Any, **values: Any) -> str:
    """Fills the template of a kind of page."""
    environment = Environment(
        loader=PackageLoader("autobert_zero.report", "assets"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"interval": _interval, "number": _number, "sentence": sentence}
    return environment.get_template(f"{kind}.html").render(
        title=_title([run.name for run in named]),
        style=_asset("report.css"),
        charts=_asset("charts.js"),
        script=_asset(f"{kind}.js"),
        data=script_json(data),
        **values,
    )


def _asset(name: str) -> str:
    return (files("autobert_zero.report") / "assets" / name).read_text(encoding="utf-8")


def script_json(data: Any) -> str:
    """JSON that cannot end the script element around it."""
    return (
        json.dumps(data, separators=(",", ":"), allow_nan=False)
        .replace("</", "<\\/")
        .replace("<!", "<\\u0021")
    )


def _title(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} runs: {', '.join(names[:3])}, …"


def _verdict(runs: Sequence[Run], comparisons: Sequence[Comparison]) -> str:
    """The headline: the verdict of a single run, or the number of runs and of comparisons or groups."""
    if len(runs) == 1:
        return runs[0].verdict
    if len(comparisons) > 1:
        return (
            f"{len(runs)} runs in {len(comparisons)} comparisons: runs with other text, sizes or training "
            "from scratch are not compared with each other."
        )
    groups = comparisons[0].groups
    if len(groups) > 1:
        return f"{len(runs)} runs in {len(groups)} groups of equal settings."
    return sentence(groups[0])


def _weights(runs: Sequence[Run]) -> str:
    """With which weights candidates were trained, for a sentence; empty if runs differ or do not say."""
    shared = {None if run.config is None else run.config.proxy.sharing != "none" for run in runs}
    if shared == {True}:
        return " under shared weights"
    return " from new weights" if shared == {False} else ""


def sentence(group: Group) -> str:
    """A sentence that compares the found backbones of a group with the opponents."""
    many = f"{len(group.runs)} runs" if len(group.runs) > 1 else "one run"
    if group.seeds < len(group.runs):
        many += f" with {counted(group.seeds, 'different seed') if group.seeds > 1 else 'the same seed'}"
    if not group.leads:
        return f"{many.capitalize()}, none with a final comparison."
    found = "found student" if group.distilled else "found backbone"
    return f"Over {many} the {found} {_standing(group)}."


def _standing(group: Group) -> str:
    """The opponents that the found backbone beats or loses to, beyond the interval or the noise of one seed.

    For distillation losses the noise of one seed is not known.
    """
    unit = " in distillation loss" if group.distilled else " nats"
    kinds: dict[str, list[str]] = {"beats": [], "is not told apart from": [], "is beaten by": []}
    for opponent, lead in group.leads.items():
        limit = group.noise if lead.half is None else lead.half
        if abs(lead.mean) < limit:
            kinds["is not told apart from"].append(f"{LABELS[opponent]} ({_interval(lead)}{unit})")
        else:
            by = _interval(Interval(abs(lead.mean), lead.half))
            kinds["beats" if lead.mean >= 0 else "is beaten by"].append(f"{LABELS[opponent]} by {by}{unit}")
    return ", ".join(f"{kind} {' and '.join(names)}" for kind, names in kinds.items() if names)


def _facts(run: Run) -> dict[str, Any]:
    """The texts and tables of a run for the template."""
    return {
        "run": run,
        "statuses": statuses(run.trials),
        "steps": [] if run.winner is None else lineage(run.trials, run.winner),
        "failures": failures(run.trials),
        "saved": saved_evaluations(run.trials),
        "config": hide_passwords(run.config.to_yaml()) if run.config else None,
        "command": _command(run),
        "versions": (run.summary or {}).get("versions"),
        "remarks": remarks(run.minimal_pairs) if run.minimal_pairs else [],
    }


def _command(run: Run) -> str:
    """The command that repeats the run from the files that the page shows."""
    parts = ["autobert-zero", "search", "--config", SEARCH.marker, "--out", f"runs/{run.name}-again"]
    for number in range(1, len(run.first) + 1):
        parts += ["--seed-backbone", f"seed-{number}.txt"]
    return shlex.join(parts)


def _interval(value: Interval | None) -> str:
    if value is None:
        return ""
    if value.half is None:
        return _number(value.mean, 3)
    return f"{_number(value.mean, 3)} ± {_number(value.half, 3)}"


def _number(value: float | None, digits: int = 4) -> str:
    """A number with a true minus sign, so that columns of figures align."""
    return "–" if value is None else f"{value:,.{digits}f}".replace("-", "−")
