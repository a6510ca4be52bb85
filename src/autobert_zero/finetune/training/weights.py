"""The weights of fine-tunings: folders of `save_pretrained`, with the best in the common folder."""

import copy
import shutil
from pathlib import Path

from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autobert_zero.errors import UserError
from autobert_zero.files import folder_written_whole, read_json, written_whole
from autobert_zero.run_folder.digests import model_files, weights_digest
from autobert_zero.run_folder.names import MODEL_CARD, TRAININGS

_WEIGHTS = "*.safetensors"


def saved_weights(folder: Path) -> str | None:
    """A digest of the weights in a folder; None without a model, or where its config is damaged."""
    try:
        whole = "model_type" in read_json(folder / "config.json")
    except UserError:
        return None
    return weights_digest(folder) if whole else None


def write_weights(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, length: int
) -> str:
    """Writes a fine-tuned model with its tokenizer, completely or not at all.

    Args:
        folder: Folder to write to.
        model: The model with its head.
        tokenizer: The tokenizer that it was trained with.
        length: Maximum number of tokens in a sequence, stored in the tokenizer.

    Returns:
        The digest of the weights.

    Raises:
        UserError: It cannot be written, for example because the disk is full.
    """
    try:
        with folder_written_whole(folder) as partial:
            model.save_pretrained(partial)
            _with_length(tokenizer, length).save_pretrained(partial)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"the weights could not be written into {folder} ({_reason(error)}); make room, then give the "
            "same call again"
        ) from error
    written = saved_weights(folder)
    assert written is not None
    return written


def install_weights(folder: Path, out: Path, move: bool) -> None:
    """Copies or moves a model to the common folder, weights last.

    Args:
        folder: Folder that `write_weights` wrote.
        out: The common folder.
        move: Whether to move instead of copying.

    Raises:
        UserError: The disk is full.
    """
    files = sorted(folder.iterdir(), key=lambda path: (path.match(_WEIGHTS), path.name))
    try:
        for path in files:
            if move:
                path.replace(out / path.name)
            else:
                with written_whole(out / path.name) as partial:
                    shutil.copyfile(path, partial)
    except OSError as error:
        raise UserError(
            f"the best weights could not be put into {out} ({_reason(error)}); make room, then give the same "
            "call again"
        ) from error
    if move:
        shutil.rmtree(folder)


def remove_weights(out: Path) -> None:
    """Removes the models of earlier calls from the common folder, and their card."""
    for path in [*model_files(out), out / MODEL_CARD]:
        path.unlink(missing_ok=True)
    remove_trained(out)


def remove_trained(out: Path) -> None:
    """Removes the models of single trainings."""
    for folder in (out / TRAININGS).glob("seed*-rate*/"):
        shutil.rmtree(folder)


def _with_length(tokenizer: PreTrainedTokenizerBase, length: int) -> PreTrainedTokenizerBase:
    """A copy that truncates at `length` by default, without truncation and padding of its last call."""
    own = copy.deepcopy(tokenizer)
    own.model_max_length = length
    own.init_kwargs["model_input_names"] = own.model_input_names
    if own.is_fast:
        own.backend_tokenizer.no_truncation()
        own.backend_tokenizer.no_padding()
    return own


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).splitlines()[0]
