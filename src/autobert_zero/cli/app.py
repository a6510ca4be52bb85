"""The application, to which every file of commands adds its own."""

from typing import Annotated

import typer

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}
"""Settings of every command and group of commands."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP_OPTIONS,
    help="Discover language-model backbones.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from autobert_zero.provenance import commit, version

        of_commit = f" (commit {commit()})" if commit() else ""
        typer.echo(f"autobert-zero {version()}{of_commit}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Discover language-model backbones."""
