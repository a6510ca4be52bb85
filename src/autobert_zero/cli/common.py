"""What several commands do before and after their one call."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer

from autobert_zero.errors import UserError
from autobert_zero.signals import interrupting


def settled(
    presets: Mapping[str, Callable[..., Any]],
    preset: str,
    arguments: tuple[Any, ...],
    config: Path | None,
    set_: list[str] | None,
    options: Mapping[str, Any] | None = None,
    inherited: Mapping[str, Any] | None = None,
) -> Any:
    """A preset with settings laid over it: inherited ones, the file's, the options', those of --set."""
    from autobert_zero.settings import parse_setting, read_yaml, resolve

    if preset not in presets:
        close = get_close_matches(preset, presets, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise UserError(f"unknown preset {preset!r}; there are {', '.join(presets)}{hint}")
    return resolve(
        presets[preset](*arguments),
        dict(inherited or {}),
        read_yaml(config) if config else {},
        dict(options or {}),
        *map(parse_setting, set_ or []),
    )


def given(options: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Those of the named options that the user gave."""
    return {name: options[name] for name in names if options.get(name) not in (None, [], ())}


def settings_given(options: Mapping[str, Any], section: str) -> dict[str, Any]:
    """Settings that have options of their own; `section` holds those of the text."""
    return {section: given(options, "corpus", "text_column", "tokenizer"), **given(options, "seed", "device")}


def check_resumed(options: Mapping[str, Any]) -> None:
    """Checks that nothing but the folder, and who does the work, is given to a resumed run.

    Raises:
        UserError: Something is.
    """
    changed = given(options, *(options.keys() - {"out", "resume", "workers", "ray", "preset"}))
    if changed or options["preset"] != "demo":
        raise UserError("a resumed run keeps its config: give --resume and --out only")


@contextmanager
def stop_told(how: Callable[[], str], quiet: bool = False) -> Iterator[None]:
    """Turns Ctrl-C, and a scheduler's signals, into one line that says how to go on, and exit code 130.

    Args:
        how: Returns how to go on; called after the stop.
        quiet: Prints nothing, as in all but one of several processes.
    """
    with interrupting():
        try:
            yield
        except KeyboardInterrupt as stop:
            cause = f" (the signal was {stop})" if str(stop) not in ("", "SIGINT") else ""
            if not quiet:
                print(f"stopped; {how()}{cause}", file=sys.stderr)
            raise typer.Exit(130) from None


def parse_rates(text: str) -> list[float]:
    """Reads learning rates with commas between them.

    Raises:
        UserError: One is not a number between 0 and 1.
    """
    try:
        rates = [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"learning rates are numbers with commas between them, not {text!r}") from None
    if not all(0 < rate < 1 for rate in rates):
        raise UserError(f"learning rates are between 0 and 1, not {text}")
    return rates
