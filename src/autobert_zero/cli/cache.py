"""`cache`: what is kept between runs, and what it takes on the disk."""

from datetime import datetime
from typing import Annotated

import typer

from autobert_zero.cli.app import app


@app.command("cache")
def cache_command(
    clear: Annotated[bool, typer.Option("--clear", help="Delete all of it; runs make it again.")] = False,
) -> None:
    """List or clear the tokenizers and tokenised texts that are kept between runs."""
    from autobert_zero.data.cache import cache_entries, cache_folder, remove

    files = cache_entries()
    for entry in files:
        if clear:
            remove(entry)
        else:
            made = datetime.fromtimestamp(entry.modified).strftime("%Y-%m-%d %H:%M")
            typer.echo(f"{made}  {entry.size / 1e6:10,.1f} MB  {entry.kind:10}  {entry.path.name}")
    total = sum(entry.size for entry in files) / 1e6
    done = "cleared: " if clear else ""
    typer.echo(f"{done}{len(files):,} file{'s' * (len(files) != 1)}, {total:,.1f} MB in {cache_folder()}")
