"""The application, to which every file of commands adds its own."""

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Discover language-model backbones.",
)


@app.callback()
def _root() -> None:
    """Discover language-model backbones."""
