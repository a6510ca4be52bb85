"""Datasets on the Hugging Face Hub as text."""

import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

from autobert_zero.data.columns import SAMPLE, text_column, text_of
from autobert_zero.data.lines import CorpusError, Damage, DocumentReader
from autobert_zero.errors import first_line
from autobert_zero.sources import check_hub

_ROWS = 1000
_WAITS = (1, 2, 4, 8, 16, 30, 60, 60)
"""Seconds to wait before each new attempt to connect."""
_DAMAGED = (ValueError, TypeError, LookupError)
"""Exceptions for data that violate their format; connections raise others."""


def hub_documents(name: str, chosen: str | None, taken: list[str], streaming: bool) -> DocumentReader:
    """Opens a dataset.

    Args:
        name: `owner/name` or `owner/name:configuration`; its split `train` is read.
        chosen: The column that the user chose; None to guess it.
        taken: List that the column is added to.
        streaming: Whether to read it over the network instead of downloading it first.

    Raises:
        CorpusError: It cannot be loaded, or has no obvious column of text.
    """
    import datasets

    datasets.disable_progress_bars()
    dataset, _, configuration = name.partition(":")
    try:
        check_hub(dataset, "dataset", "dataset")
        loaded = datasets.load_dataset(dataset, configuration or None, split="train", streaming=streaming)
        sample = list(islice(loaded, SAMPLE))
    except Exception as error:  # of many kinds
        raise CorpusError(
            f"corpus {name!r} is not a local file, and as a dataset on the Hub it cannot be loaded: "
            f"{first_line(error)}"
        ) from error
    column = text_column(f"corpus {name!r}", sample, chosen, taken)
    loaded = loaded.select_columns([column])
    return partial(_stream if streaming else _loaded_records, name, loaded, column)


def _loaded_records(name: str, loaded: Any, column: str) -> Iterator[str | Damage]:
    number = 0
    for batch in loaded.iter(_ROWS):
        for value in batch[column]:
            number += 1
            yield text_of({column: value}, column, f"corpus {name!r}, record {number:,}")


def _stream(name: str, loaded: Any, column: str) -> Iterator[str | Damage]:
    """Reads shard by shard; after a failed connection, reading continues where it stopped.

    Raises:
        CorpusError: The connection fails for minutes.
    """
    shards = loaded.num_shards
    for shard in range(shards):
        place = f"corpus {name!r}, shard {shard + 1:,} of {shards:,}"
        rest = loaded.shard(num_shards=shards, index=shard)
        done = failures = 0
        while True:
            try:
                for record in rest.skip(done):
                    done, failures = done + 1, 0
                    yield text_of(record, column, f"{place}, record {done:,}")
            except _DAMAGED as error:
                yield Damage(f"{place} cannot be read after record {done:,}: {first_line(error)}")
            except Exception as error:  # of many kinds, all of them the network's
                failures += 1
                if failures > len(_WAITS):
                    raise CorpusError(
                        f"{place} cannot be reached, after {len(_WAITS)} tries: {first_line(error)}"
                    ) from error
                time.sleep(_WAITS[failures - 1])
                continue
            break
