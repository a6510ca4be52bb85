"""`cache`: lists or clears the files that are kept between runs."""

from datetime import datetime
from typing import Annotated

import typer

from autobert_zero.cli.app import SETTINGS, Result, command
from autobert_zero.errors import counted


@command(SETTINGS)
def cache_command(
    clear: Annotated[
        bool, typer.Option("--clear", help="Delete everything in it; later runs compute it again.")
    ] = False,
) -> Result:
    """List or clear the files that runs keep: tokenizers, tokenised texts and teachers' embeddings."""
    from autobert_zero.data.cache import cache_entries, cache_folder, remove

    files, lines = cache_entries(), []
    for entry in files:
        if clear:
            remove(entry)
        else:
            made = datetime.fromtimestamp(entry.modified).strftime("%Y-%m-%d %H:%M")
            lines.append(f"{made}  {entry.size / 1e6:10,.1f} MB  {entry.kind:10}  {entry.path.name}")
    total = sum(entry.size for entry in files)
    done = "cleared: " if clear else ""
    lines.append(f"{done}{counted(len(files), 'file')}, {total / 1e6:,.1f} MB in {cache_folder()}")
    plain = [{"file": entry.path.name, "kind": entry.kind, "bytes": entry.size} for entry in files]
    return Result(
        "\n".join(lines), {"folder": cache_folder(), "bytes": total, "cleared": clear, "files": plain}
    )
