"""The Typer application, the decorator that adds commands to it, and options of all commands."""

import inspect
import json
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from autobert_zero.errors import UserError
from autobert_zero.files import json_values
from autobert_zero.progress import verbosity
from autobert_zero.signals import interrupting
from autobert_zero.sources import expanded, in_home
from autobert_zero.streams import STANDARD_STREAM

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}
"""Settings of every command and group of commands."""

SEARCHING = "Search"
TRAINING = "Train"
USE = "Use and compare models"
BACKBONES = "Backbones"
SETTINGS = "Settings and files"

_ALIASES = {"batch": "batch-size", "latency-ms": "max-latency-ms", "speedup": "min-speedup"}
"""Other names of options, which work and are not listed."""

_COMMANDS = (
    *("search", "report", "diagnose"),
    *("pretrain", "distil", "finetune", "glue"),
    *("predict", "minimal-pairs", "compare", "export"),
    *("describe", "draw", "zoo", "config", "cache"),
)
"""All commands, in the order of the help."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP_OPTIONS,
    help="Discover language-model backbones.",
)


@dataclass(frozen=True)
class Result:
    """The result of a command.

    Attributes:
        text: The result for people, to print.
        data: The result for programs, which `--json` prints.
        finish: Called after printing, so that the result is not lost if it fails: writes files, or raises the
            error of a part of the work.
    """

    text: str
    data: Mapping[str, Any]
    finish: Callable[[], None] | None = None


_Json = Annotated[
    bool,
    typer.Option("--json", help="Print the result as one JSON object.", rich_help_panel="Output"),
]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.", rich_help_panel="Output")]
_Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Show the libraries' messages, and where an error arose.",
        rich_help_panel="Output",
    ),
]


@contextmanager
def exit_when_stopped(how: Callable[[], str | None]) -> Iterator[None]:
    """Turns a signal that stops the block into one line and exit code 130.

    Args:
        how: Tells how to go on; called after the stop. If it returns None, nothing is printed.
    """
    with interrupting() as sent:
        try:
            yield
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                name = str(error)
            elif (number := sent()) is not None:  # what a library made of the interruption
                name = signal.Signals(number).name
            else:
                raise
            cause = f" (the signal was {name})" if name not in ("", "SIGINT") else ""
            if (line := how()) is not None:
                print(f"stopped; {line}{cause}", file=sys.stderr)
            sys.exit(130)


def _call_again(options: Mapping[str, Any]) -> str:
    """Tells how to go on after a command that keeps nothing when it is stopped."""
    return "no result was written: give the same call again"


def call_continues(options: Mapping[str, Any]) -> str:
    """Tells how to go on after a command that skips finished work when it is called again."""
    return "the same call continues"


def command(
    panel: str,
    name: str | None = None,
    *,
    group: typer.Typer = app,
    description: str | None = None,
    prints_records: bool = False,
    stopped: Callable[[Mapping[str, Any]], str | None] = _call_again,
) -> Callable[[Callable[..., Result | None]], Callable[..., Result | None]]:
    """Adds a function to the application as a command, with `--json`, `-q` and `-v`.

    Ctrl-C, and a scheduler's signals, end it with one line that says how to go on, and exit code 130.

    Args:
        panel: Group of commands in the help.
        name: Name of the command; None takes that of the function, without `_command`.
        group: Application to which the command is added.
        description: Description for the help; None takes the docstring of the function.
        prints_records: Whether the command prints records itself, one by one, so that it has no `--json`.
        stopped: Tells how to continue after a stop, from the options; if it returns None, nothing is printed.
    """

    def register(function: Callable[..., Result | None]) -> Callable[..., Result | None]:
        def run(
            context: typer.Context, quiet: bool, verbose: bool, json_: bool = False, **options: Any
        ) -> None:
            if "config" in options:  # `common.settings_of` reads the variables
                options |= dict.fromkeys(_from_environment(context, options))
            options = {name: _with_home(value) for name, value in options.items()}
            if json_ and str(options.get("out")) == STANDARD_STREAM:
                raise UserError("--json and --out - both write to standard output; give one of them")
            with exit_when_stopped(lambda: stopped(options)), verbosity(verbose - quiet):
                try:
                    result = function(**options)
                except typer.Exit:
                    raise
                except Exception:
                    if verbose:
                        traceback.print_exc()
                    raise
                if result is not None:
                    typer.echo(json.dumps(json_values(result.data), indent=2) if json_ else result.text)
                    if result.finish is not None:
                        result.finish()

        common_parameters = [
            inspect.Parameter(parameter, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=False)
            for parameter, kind in (("json_", _Json), ("quiet", _Quiet), ("verbose", _Verbose))
            if not (prints_records and parameter == "json_")
        ]
        own_parameters = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(function).parameters.values()
        ]
        common_parameters.append(
            inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        )
        # Typer reads the signature.
        run.__signature__ = inspect.Signature([*own_parameters, *common_parameters])  # type: ignore[attr-defined]
        run.__annotations__ = {
            parameter.name: parameter.annotation for parameter in (*own_parameters, *common_parameters)
        }
        group.command(
            name or function.__name__.removesuffix("_command").replace("_", "-"),
            help=description or function.__doc__,
            rich_help_panel=panel,
            context_settings={"token_normalize_func": lambda token: _ALIASES.get(token, token)},
        )(run)
        group.registered_commands.sort(key=lambda registered: _COMMANDS.index(str(registered.name)))
        return function

    return register


def _from_environment(context: typer.Context, options: Mapping[str, Any]) -> list[str]:
    """The names of options whose values come from environment variables."""
    sources = {name: context.get_parameter_source(name) for name in options}
    return [name for name, source in sources.items() if source is not None and source.name == "ENVIRONMENT"]


def _with_home(value: Any) -> Any:
    """Expands `~` in the value of an option: in paths, and in texts that are existing paths."""
    if isinstance(value, list | tuple):
        return [_with_home(item) for item in value]
    if isinstance(value, Path):
        return expanded(value)
    return in_home(value) if isinstance(value, str) else value


def _print_version(wanted: bool) -> None:
    if wanted:
        from autobert_zero.provenance import commit, version

        suffix = f" (commit {commit()})" if commit() else ""
        typer.echo(f"autobert-zero {version()}{suffix}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Discover language-model backbones."""
