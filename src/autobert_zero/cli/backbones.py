"""Finds the backbone that an option names, for every command that takes one."""

import errno
import json
import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from autobert_zero.errors import UserError
from autobert_zero.sources import expanded
from autobert_zero.streams import STANDARD_STREAM, STDIN, stdin_bytes

if TYPE_CHECKING:
    from autobert_zero.space import Backbone

HELP = (
    "A formula, a stack (bert, hybrid, convolution, rotary, rotary-hybrid, wide-hybrid, gated-convolution), "
    "a name of the zoo, a run, the folder of a model, a file, or - for stdin."
)


def find_backbone(source: str, layers: int | None = None, purpose: str = "") -> "Backbone":
    """Finds a backbone by name, in a folder or a file, or parses a formula.

    Args:
        source: A name in `STACKS`; a name of the zoo; a finished search; a pre-training or a saved model; a
            file with one layer per line, or a list in JSON; `-`; or layers themselves.
        layers: Depth of a stack; None means 4.
        purpose: Purpose in messages, for example ` for --seed-backbone`.

    Raises:
        UserError: It is none of these, or `layers` is given for a backbone that has its own depth.
    """
    from autobert_zero.zoo import STACKS, ZOO

    if source in STACKS:
        return STACKS[source](4 if layers is None else layers)
    if layers is not None:
        raise UserError(f"--layers is for {', '.join(STACKS)}; other backbones have their own depth")
    if source in ZOO:
        return ZOO[source].backbone
    if source == STANDARD_STREAM:
        return _parse(_read_text_file(STDIN), str(STDIN))
    path = _existing(source)
    if path is None:
        return _formula(source, purpose)
    return _in_folder(path) if path.is_dir() else _parse(_read_text_file(path), str(path))


def named_folder(source: str) -> Path | None:
    """The folder of a run or a model that `find_backbone` reads for a source; None if it reads none.

    Raises:
        UserError: The path cannot be accessed.
    """
    from autobert_zero.zoo import STACKS, ZOO

    if source in STACKS or source in ZOO or source == STANDARD_STREAM:
        return None
    path = _existing(source)
    return path if path is not None and path.is_dir() else None


def _existing(source: str) -> Path | None:
    """The path, if it exists; a formula can be too long for a file name."""
    if not source.strip():
        return None
    try:
        path = expanded(source)
        return path if path.exists() else None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise UserError(f"{source} cannot be read: {error.strerror}") from None


def _formula(source: str, purpose: str) -> "Backbone":
    from autobert_zero.space import Backbone
    from autobert_zero.space.primitives import INPUTS
    from autobert_zero.zoo import STACKS, ZOO

    try:
        return Backbone.parse(source)
    except UserError:
        if re.search(r"[/\\]|^[~.]", source) or re.fullmatch(r"[^@+()]*\.[A-Za-z][A-Za-z0-9]{1,5}", source):
            raise UserError(f"there is no file {source}{purpose}") from None
        if re.fullmatch(r"[A-Za-z][\w-]*", source, re.ASCII) and source not in (*INPUTS, "conv"):
            close = get_close_matches(source, [*STACKS, *ZOO], n=1)
            meant = f"; did you mean {close[0]}?" if close else " (autobert-zero zoo lists them)"
            raise UserError(
                f"there is no file {source}{purpose}, and no backbone of that name in the zoo{meant}"
            ) from None
        raise


def _in_folder(folder: Path) -> "Backbone":
    """The best of a finished search, or the backbone of a pre-training or of a saved model."""
    from autobert_zero.run_folder import PRETRAINING
    from autobert_zero.run_folder.names import BEST
    from autobert_zero.space import Backbone

    best = folder / f"{BEST}.txt"
    if best.exists():
        return _parse(_read_text_file(best), str(best))
    for path in (folder / PRETRAINING.marker, folder / "config.json"):
        if path.exists():
            layers = _read_settings(path).get("backbone")
            if not isinstance(layers, list):
                raise UserError(f"{path} names no backbone; it is not of a model of ours")
            try:
                return Backbone.from_list(layers)
            except (UserError, TypeError) as error:
                raise UserError(f"{path}: {error}") from None
    raise UserError(f"{folder} has no best.txt; it is not a finished search")


def _read_settings(path: Path) -> dict[str, object]:
    if path.suffix == ".yaml":
        from autobert_zero.settings import read_yaml

        return read_yaml(path)
    try:
        settings = json.loads(_read_text_file(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    if not isinstance(settings, dict):
        raise UserError(f"{path} is not the config of a model")
    return settings


def _read_text_file(path: Path) -> str:
    try:
        content = stdin_bytes().read() if path is STDIN else path.read_bytes()
        return content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a readable text file: {error}") from None


def _parse(text: str, name: str) -> "Backbone":
    """Reads layers in JSON or one per line; messages name where they come from."""
    from autobert_zero.space import Backbone

    try:
        if name.endswith(".json") or text.lstrip().startswith("["):
            return Backbone.from_json(text)
        return Backbone.parse(text)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
