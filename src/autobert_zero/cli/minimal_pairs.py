"""`minimal-pairs`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autobert_zero.cli.app import USE, Result, command
from autobert_zero.cli.options import Device, InferencePrecision, file_option
from autobert_zero.errors import UserError, counted
from autobert_zero.extras import require
from autobert_zero.out_file import check_out
from autobert_zero.progress import Bars, log_console, quiet_transformers
from autobert_zero.streams import STANDARD_STREAM

if TYPE_CHECKING:
    from autobert_zero.minimal_pairs.models import ScoredModel


@command(USE)
def minimal_pairs_command(
    model: Annotated[
        str, typer.Option(help="Folder of a pre-trained or exported model or of a search, or a Hub name.")
    ],
    data: Annotated[
        list[Path],
        typer.Option(
            help="BLiMP's jsonl files or their folder, or csv or tsv files; can be given several times."
        ),
    ],
    more: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Further files of --data, as in --data blimp/*.jsonl."),
    ] = None,
    out: Annotated[
        Path | None,
        file_option(
            "JSON file for the results; minimal_pairs.json in the model's folder is shown by `export` and "
            "`report`; - for JSON on standard output."
        ),
    ] = None,
    within_word: Annotated[
        bool,
        typer.Option(
            "--within-word",
            help="Mask the later tokens of a word along with each of its tokens (PLL-word-l2r).",
        ),
    ] = False,
    per_pair: Annotated[
        bool, typer.Option("--per-pair", help="Also write the scores of every pair to --out.")
    ] = False,
    device: Device = "auto",
    precision: InferencePrecision = "fp32",
) -> Result:
    """Measure how often a masked language model prefers the grammatical sentence of a pair (BLiMP)."""
    require("minimal-pairs", "hf", "transformers")
    quiet_transformers()
    from autobert_zero.devices import find_device
    from autobert_zero.minimal_pairs.data import read_pairs
    from autobert_zero.minimal_pairs.measure import TokenisedPairs
    from autobert_zero.minimal_pairs.results import accuracy_table, remarks, write_results
    from autobert_zero.run_folder.digests import weights_digest
    from autobert_zero.run_folder.names import MINIMAL_PAIRS
    from autobert_zero.training.precision import resolve_precision

    files = [*data, *(more or ())]
    if per_pair and out is None:
        raise UserError("--per-pair writes to the file of --out; name one")
    if out is not None:
        check_out(out, files, Path(model), allowed=MINIMAL_PAIRS)
    target = find_device(device)
    number_format = resolve_precision(precision, target)
    pairs = read_pairs(files)
    scored = _open(model)
    with Bars(log_console()) as progress:
        progress.say(f"{counted(len(pairs), 'pair')}; model {scored.name}")
        tokenised = TokenisedPairs(pairs, scored.tokenizer, scored.positions, within_word)
        results = tokenised.measure(
            scored.model.to(target),
            number_format,
            watch=lambda done, total: progress.update("masked sentences", done, total),
        )
    plain = {
        "model": model,
        "weights": weights_digest(Path(model)),
        "data": [str(path) for path in files],
        "precision": number_format,
        **results.to_dict(per_pair),
    }
    if str(out) == STANDARD_STREAM:
        return Result(json.dumps(plain, indent=2), plain)
    text = "\n".join([*accuracy_table(plain), "", *remarks(plain)])
    return Result(text, plain, None if out is None else lambda: write_results(out, plain))


def _open(source: str) -> "ScoredModel":
    """Opens the winner of a search, or any model with a masked-language-model head."""
    from autobert_zero.minimal_pairs.models import ScoredModel, open_scored
    from autobert_zero.run_folder import SEARCH

    if not (Path(source) / SEARCH.marker).is_file():
        return open_scored(source)
    from autobert_zero.export.sources import open_source

    run = open_source(Path(source))
    assert run.tokenizer is not None  # a run has one
    return ScoredModel(source, run.model, run.tokenizer, run.model.config.encoder_config().length_limit)
