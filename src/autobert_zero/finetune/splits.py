"""The splits of a task: files in a folder, or datasets on the Hub."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from datasets import Dataset, load_dataset

from autobert_zero.errors import UserError, first_line
from autobert_zero.sources import check_hub

_CONVERTED = "refs/convert/parquet"
"""The revision with the Hub's own conversion of a dataset that needs code to be read."""

T = TypeVar("T")

_FOUND: ContextVar[list[Path]] = ContextVar("files of splits")


@contextmanager
def naming_task(name: str) -> Iterator[None]:
    """Prefixes the message of a `UserError` with the name of a task.

    Raises:
        UserError: The block raises one.
    """
    try:
        yield
    except UserError as error:
        raise UserError(f"task {name}: {error}") from None


def read_splits(
    validation: Iterable[str], test: Iterable[str], read: Callable[[str], tuple[str, T | None]]
) -> Iterator[tuple[str, str, T]]:
    """Reads `train`, the validation splits, and the existing test splits.

    Args:
        validation: Names of the validation splits.
        test: Names of the test splits.
        read: Returns the place of a split, and its examples or None if there is no such split.

    Yields:
        The name of each split, its place, and its examples.

    Raises:
        UserError: A split other than a test split is missing.
    """
    for split in ("train", *validation, *test):
        place, examples = read(split)
        if examples is not None:
            yield split, place, examples
        elif split not in test:
            own = ", or name other splits under `validation` in a YAML file of your own"
            remedy = "" if split == "train" else own
            raise UserError(f"{place} is missing; add it{remedy}")


@contextmanager
def recording_files() -> Iterator[list[Path]]:
    """Yields a list of the files that `split_file` finds in the block."""
    files: list[Path] = []
    token = _FOUND.set(files)
    try:
        yield files
    finally:
        _FOUND.reset(token)


def split_file(folder: Path, split: str, names: Iterable[str]) -> Path | None:
    """Finds the file of a split among its possible names; None if there is none.

    Capitals do not count, and `.gz` may follow.

    Raises:
        UserError: There is no such folder, it cannot be read, or it has several of the files.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    try:
        files = [(path.name.lower().removesuffix(".gz"), path) for path in sorted(folder.iterdir())]
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}") from None
    wanted = dict.fromkeys(name.lower() for name in names)
    present = [path for name in wanted for there, path in files if there == name]
    if len(present) > 1:
        names = " and ".join(path.name for path in present)
        raise UserError(f"{folder} has {names} for the split {split}; keep one of them")
    if not present:
        return None
    if (found := _FOUND.get(None)) is not None:
        found.append(present[0])
    return present[0]


def hub_split(dataset: str, configuration: str | None, split: str) -> tuple[str, Dataset | None]:
    """Loads a split from the Hub.

    Args:
        dataset: Its name on the Hub.
        configuration: A configuration of the dataset; None if it has only one.
        split: Name of the split there.

    Returns:
        Its place, for messages, and its examples or None if there is no such split.

    Raises:
        UserError: It cannot be loaded.
    """
    place = ":".join(filter(None, (dataset, configuration, split)))
    try:
        check_hub(dataset, "dataset", "dataset")
        try:
            return place, load_dataset(dataset, configuration, split=split)
        except RuntimeError as error:
            if "script" not in str(error):
                raise
            return place, load_dataset(dataset, configuration, split=split, revision=_CONVERTED)
    except Exception as error:  # of many kinds: no network, no such dataset
        if str(error).startswith("Unknown split"):
            return place, None
        raise UserError(
            f"it cannot be loaded from the Hub ({first_line(error)}); name a folder with --data"
        ) from None


def numbered(place: str, examples: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """The examples of a split on the Hub, each with its place, for messages."""
    return ((f"{place}, example {number}", example) for number, example in enumerate(examples, start=1))
