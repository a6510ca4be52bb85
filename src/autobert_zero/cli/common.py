"""Settings, presets and resuming, for several commands."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, TypeVar

from autobert_zero.cli.options import VARIABLES
from autobert_zero.errors import UserError, unknown_name
from autobert_zero.sources import in_home

if TYPE_CHECKING:
    from autobert_zero.settings import RunConfig


P = TypeVar("P")


def find_preset(presets: Mapping[str, P], name: str) -> P:
    """Finds a preset by name.

    Raises:
        UserError: There is none.
    """
    if name not in presets:
        raise UserError(unknown_name("preset", name, presets))
    return presets[name]


def settings_of(
    kind: "type[RunConfig]", config: Path | None, set_: Sequence[str] | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Merges the settings that the user gave, by section.

    Later sources override earlier ones: the file, environment variables, options, --set. A variable counts
    only where the file has no value, `auto` or null.

    Args:
        kind: Kind of config.
        config: The file of --config.
        set_: The texts of --set.
        options: Settings that have options of their own.
    """
    from autobert_zero.settings import merged, parse_setting, read_yaml

    file = read_yaml(config) if config else {}
    environment = {
        name: os.environ[variable]
        for name, variable in VARIABLES.items()
        if name in kind.model_fields and os.environ.get(variable) and file.get(name) in (None, "auto")
    }
    return merged(kind, file, environment, options, *map(parse_setting, set_ or []))


def teacher_of(settings: Mapping[str, Any]) -> str | None:
    """The teacher named in settings; None if there is none."""
    distil = settings.get("distil")
    return _source_name(distil.get("teacher")) if isinstance(distil, dict) else None


def start_of(settings: Mapping[str, Any]) -> str | None:
    """The model or search to start from named in settings; None if there is none."""
    return _source_name(settings.get("start"))


def _source_name(value: Any) -> str | None:
    return in_home(value) if isinstance(value, str) else None


def given(options: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Those of the named options that the user gave."""
    return {name: options[name] for name in names if options.get(name) not in (None, [], ())}


def settings_given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that have options of their own, by section."""
    return {"data": given(options, "corpus", "text_column", "tokenizer"), **given(options, "seed", "device")}


def check_resumed(options: Mapping[str, Any]) -> None:
    """Checks that a resumed run is given its folder, and no options except those of its workers.

    Raises:
        UserError: Another option is given, or no folder.
    """
    changed = given(options, *(options.keys() - {"out", "resume", "workers", "ray", "preset"}))
    if changed or options["preset"] != "demo":
        raise UserError("a resumed run keeps its config: give --resume and --out only")
    if options["out"] is None:
        raise UserError("name the run that is resumed with --out")


def how_to_resume(command: str, out: Path) -> str:
    """Tells how to continue a stopped run, for the line about the stop.

    Args:
        command: Command that continues it.
        out: Folder of the run.
    """
    from autobert_zero.run_folder import kind_of

    if kind_of(out) is None:
        return "nothing was trained yet: give the same call again"
    return f"continue with: autobert-zero {command} --out {quote(str(out))} --resume"


def parse_rates(text: str) -> list[float]:
    """Parses comma-separated learning rates.

    Raises:
        UserError: One is not a number.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"learning rates must be numbers separated by commas, not {text!r}") from None
