"""The page: a template, one style sheet, one script and the data, all in one file."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment

from autobert_zero.report.curves import Group, Interval, group
from autobert_zero.report.data import drawn, failures, run_data, saved, statuses
from autobert_zero.report.draw import svg
from autobert_zero.report.lineage import lineage
from autobert_zero.report.runs import ReportError, Run, read_run
from autobert_zero.search.outputs import LABELS
from autobert_zero.urls import hide_passwords


def write_report(folders: Sequence[Path], out: Path) -> Path:
    """Writes the report of one run, or of several beside each other.

    Args:
        folders: Run folders, finished or not.
        out: The HTML file, which is written over.

    Returns:
        The file.

    Raises:
        ReportError: A folder is no run, or the file cannot be written.
    """
    html = read_page(folders)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(html, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"{out} cannot be written: {error.strerror}; choose another -o") from None
    return out


def read_page(folders: Sequence[Path]) -> str:
    """The page of one run or of several, as text.

    Raises:
        ReportError: A folder is no run.
    """
    return render([read_run(folder) for folder in folders])


def render(runs: Sequence[Run]) -> str:
    """The page as text."""
    assets = files("autobert_zero.report") / "assets"
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"interval": _interval, "number": _number}
    template = environment.from_string((assets / "page.html").read_text(encoding="utf-8"))
    groups = group(runs)
    data: dict[str, Any] = {"groups": [asdict(each) for each in groups], "runs": [], "pictures": []}
    for run in runs:
        data["runs"].append(run_data(run))
        numbers = drawn(run, data["runs"][-1]["axes"])
        # Not by Graphviz: the page does not depend on what is installed, and is made sooner.
        data["pictures"].append(
            {str(n): svg(run.trials[n].proposal.backbone, use_dot=False) for n in numbers}
        )
    return template.render(
        title=", ".join(run.name for run in runs),
        verdict=_verdict(runs, groups),
        groups=groups,
        labels=LABELS,
        runs=[_facts(run) for run in runs],
        style=(assets / "report.css").read_text(encoding="utf-8"),
        script=(assets / "report.js").read_text(encoding="utf-8"),
        data=embedded(data),
    )


def embedded(data: Any) -> str:
    """JSON that cannot end the script element that holds it."""
    return (
        json.dumps(data, separators=(",", ":"), allow_nan=False)
        .replace("</", "<\\/")
        .replace("<!", "<\\u0021")
    )


def _verdict(runs: Sequence[Run], groups: Sequence[Group]) -> str:
    """One run speaks for itself; of several each group of equal config gets a sentence."""
    if len(runs) == 1:
        return runs[0].verdict
    sentences = []
    for each in groups:
        name = "" if len(groups) == 1 else f"{each.label}: "
        many = f"{len(each.runs)} runs" if len(each.runs) > 1 else "one run"
        if not each.leads:
            sentences.append(f"{name}{many}, none with a final comparison.")
            continue
        sentences.append(f"{name}Over {many} the found backbone {_standing(each.leads)}.")
    return " ".join(sentences)


def _standing(leads: Mapping[str, Interval]) -> str:
    """Whom the found backbone beats, and who beats it; level where the interval holds 0."""
    kinds: dict[str, list[str]] = {"beats": [], "is level with": [], "is beaten by": []}
    for opponent, lead in leads.items():
        if abs(lead.mean) < (lead.half or 0.0):
            kinds["is level with"].append(f"{LABELS[opponent]} ({_interval(lead)} nats)")
        else:
            by = _interval(Interval(abs(lead.mean), lead.half))
            kinds["beats" if lead.mean >= 0 else "is beaten by"].append(f"{LABELS[opponent]} by {by} nats")
    return ", ".join(f"{kind} {' and '.join(names)}" for kind, names in kinds.items() if names)


def _facts(run: Run) -> dict[str, Any]:
    """What the template says of a run in words."""
    return {
        "run": run,
        "statuses": statuses(run.trials),
        "steps": [] if run.winner is None else lineage(run.trials, run.winner),
        "failures": failures(run.trials),
        "saved": saved(run.trials),
        "config": hide_passwords(run.config.to_yaml()) if run.config else None,
        "command": _command(run),
        "versions": (run.summary or {}).get("versions"),
    }


def _command(run: Run) -> str:
    """Repeats the run from the files that the page shows."""
    parts = ["autobert-zero", "search", "--config", "config.yaml", "--out", f"runs/{run.name}-again"]
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
    """With a true minus sign, so that columns of figures align."""
    return "–" if value is None else f"{value:,.{digits}f}".replace("-", "−")
