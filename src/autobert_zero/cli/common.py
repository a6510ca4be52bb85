"""What several commands do before and after their one call."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
) -> Any:
    """A preset with the user's settings laid over it: the file's, then the options', then those of --set."""
    from autobert_zero import config as configs

    if preset not in presets:
        raise UserError(f"unknown preset {preset!r}; there are {', '.join(presets)}")
    return configs.resolve(
        presets[preset](*arguments),
        configs.read_yaml(config) if config else {},
        dict(options or {}),
        *map(configs.parse_setting, set_ or []),
    )


def options_given(
    section: str,
    corpus: list[str] | None,
    text_column: str | None,
    tokenizer: str | None,
    seed: int | None,
) -> dict[str, Any]:
    """Settings that have options of their own; `section` holds those of the text."""
    text = {"corpus": corpus or None, "text_column": text_column, "tokenizer": tokenizer}
    given: dict[str, Any] = {section: {key: value for key, value in text.items() if value is not None}}
    return given if seed is None else given | {"seed": seed}


def check_resumed(preset: str, changed: Sequence[Any]) -> None:
    """Checks that nothing but the folder is given to a resumed run.

    Raises:
        UserError: Something is.
    """
    if any(value is not None for value in changed) or preset != "demo":
        raise UserError("a resumed run keeps its config: give --resume and --out only")


def find_backbone(source: str, layers: int | None) -> Any:
    """A backbone of the zoo or of the user; the reference ones in the depth that is asked for."""
    from autobert_zero.zoo import OPPONENTS, ZOO

    if source in OPPONENTS:
        return OPPONENTS[source](layers or 4)
    if layers is not None:
        raise UserError(f"--layers is for {', '.join(OPPONENTS)}; other backbones have their own depth")
    return ZOO[source].backbone if source in ZOO else read_backbone(source)


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
    try:
        rates = [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"learning rates are numbers with commas between them, not {text!r}") from None
    if not all(0 < rate < 1 for rate in rates):
        raise UserError(f"learning rates are between 0 and 1, not {text}")
    return rates


def read_backbone(source: str) -> Any:
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
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a readable text file: {error}") from None
    try:
        return Backbone.from_json(text) if path.suffix == ".json" else Backbone.parse(text)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
