"""Decides where a source that the user names is: on this disk, or on the Hugging Face Hub.

One decision for models, corpora and tokenizers: what exists is local; what is written as a path and does not
exist is an error at once; the rest can only be a name on the Hub.
"""

import errno
import re
from pathlib import Path
from typing import Literal

from autobert_zero.errors import UserError, first_line

EMBEDDED = "kjv"
"""Name of the embedded corpus (the King James Bible, 4.2 MB of prose), also where a file has this name."""

_HUB_NAME = re.compile(r"(?=.{1,96}$)(?!.*(--|\.\.))\w([\w.-]*\w)?(/\w([\w.-]*\w)?)?", re.ASCII)
"""The Hub's rule: `name` or `owner/name` of letters, digits, `_`, `-` and `.`."""

_ENDINGS = frozenset(
    [
        *(".txt", ".md", ".log", ".html", ".xml", ".json", ".jsonl", ".yaml", ".yml", ".csv", ".tsv"),
        *(".parquet", ".arrow", ".gz", ".bz2", ".xz", ".zst", ".zip", ".tar"),
        *(".safetensors", ".bin", ".pt", ".onnx"),
    ]
)
"""Endings of files: a name with one of these is meant as a path."""


class MissingSource(UserError):
    """A path to nothing."""


def find_local(
    source: str,
    what: str,
    *,
    configuration: bool = False,
    remedy: str = "check the path, or name a repository on the Hub",
) -> Path | None:
    """Finds a source on this disk, or decides that it is a name on the Hub. Makes no network request.

    Args:
        source: A path, `name` or `owner/name`.
        what: Kind of source, for messages: `model`, `corpus`, `tokenizer`.
        configuration: Whether a name on the Hub may go on with `:configuration`.
        remedy: Remedy for a missing path, for messages.

    Returns:
        The existing path, or None for a name on the Hub.

    Raises:
        MissingSource: The source is a path to nothing.
        UserError: It is empty or cannot be accessed.
    """
    if not source.strip():
        raise UserError(f"the name of the {what} is empty; name a path or a repository on the Hub")
    try:
        path = expanded(source)
        if path.exists():
            return path
        nothing = path.is_symlink()
        inside = path.parent != Path() and path.parent.is_dir()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise UserError(f"{what} {source!r} cannot be read: {error.strerror}") from None
        nothing = inside = False
    if nothing:
        raise MissingSource(f"{what} {source!r} is a link to {path.readlink()}, which does not exist")
    name = source.partition(":")[0] if configuration else source
    if inside or path.suffix.lower() in _ENDINGS or not _HUB_NAME.fullmatch(name):
        raise MissingSource(f"{what} {source!r} does not exist; {remedy}")
    return None


def expanded(source: str | Path) -> Path:
    """A path in which `~` stands for a home folder.

    Raises:
        UserError: There is no such home folder.
    """
    try:
        return Path(source).expanduser()
    except RuntimeError:
        raise UserError(f"{source} is in a home folder that is not known; write the whole path") from None


def in_home(source: str) -> str:
    """A source in which `~` stands for a home folder, where that path exists.

    What does not exist is left as it is, for messages.
    """
    return absolute(source) if source.startswith("~") else source


def absolute(source: str) -> str:
    """A source whose meaning does not depend on the working directory: an existing path becomes absolute.

    What does not exist is left as it is: a name on the Hub, or a mistake that its reader tells.
    """
    try:
        path = Path(source).expanduser()
        return str(path.absolute()) if source.strip() and path.exists() else source
    except (OSError, ValueError, RuntimeError):  # too long, NUL, ~ without a home: no path
        return source


def check_hub(name: str, what: str, kind: Literal["model", "dataset"]) -> None:
    """Checks with one request that the Hub has a repository; skipped if it was downloaded before.

    The libraries that download try again and again, for half a minute, before they give up.

    Args:
        name: Name that `find_local` decided on, without configuration.
        what: Kind of source, for messages.
        kind: Kind of repository.

    Raises:
        UserError: The Hub has no such repository, does not show it, or cannot be reached.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError
    from huggingface_hub.file_download import repo_folder_name

    if (Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type=kind) / "snapshots").is_dir():
        return
    start = f"{what} {name!r} is not on this disk"
    try:
        HfApi().repo_info(name, repo_type=kind, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except GatedRepoError:
        raise UserError(
            f"{what} {name!r} is gated: ask for access on its page, then `hf auth login`"
        ) from None
    except RepositoryNotFoundError:
        raise UserError(f"{start}, and the Hub has no {kind} of that name; check the spelling") from None
    except OfflineModeIsEnabled:
        raise UserError(f"{start}, and HF_HUB_OFFLINE keeps it from being downloaded") from None
    except Exception as error:  # of many kinds: the network has its own
        raise UserError(f"{start}, and the Hub cannot be asked for it: {first_line(error)}") from None
