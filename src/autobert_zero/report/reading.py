"""Reads the files that folders of searches and of pre-trainings share; what cannot be read is reported."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autobert_zero.errors import UserError
from autobert_zero.minimal_pairs.results import read_results
from autobert_zero.run_folder import read_record
from autobert_zero.run_folder.names import SUMMARY
from autobert_zero.run_folder.record import RunRecord


def reported_summary(
    folder: Path, check: Callable[[Mapping[str, Any]], None], unfinished: str, lost: str, missing: list[str]
) -> Mapping[str, Any] | None:
    """The summary in a folder; None if it is missing or damaged.

    Args:
        folder: Folder of a run.
        check: Reads the figures that the page shows; raises any error of reading damaged data.
        unfinished: What a missing summary means, for the user.
        lost: What the page lacks if the summary is damaged.
        missing: List that is extended by what could not be read.
    """
    path = folder / SUMMARY
    if not path.exists():
        missing.append(f"{SUMMARY} is missing: {unfinished}.")
        return None
    try:
        summary: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        check(summary)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        missing.append(f"{SUMMARY} is damaged: {lost}.")
        return None
    return summary


def reported_start(folder: Path, lost: str, missing: list[str]) -> RunRecord | None:
    """The record of how a run was started; None if it is missing or damaged; see `reported_summary`."""
    try:
        return read_record(folder)
    except UserError as error:
        missing.append(f"{error}: {lost}.")
        return None


def reported_pairs(folder: Path, missing: list[str]) -> Mapping[str, Any] | None:
    """The results on minimal pairs in a folder; None if there are none, or they are damaged."""
    try:
        return read_results(folder)
    except UserError as error:
        missing.append(f"{error}: no accuracy on minimal pairs.")
        return None
