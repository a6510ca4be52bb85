"""The sizes and the trunk of a run or a model, for `describe`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from autobert_zero.cli.backbones import named_folder
from autobert_zero.errors import UserError
from autobert_zero.files import read_json

if TYPE_CHECKING:
    from autobert_zero.encoder_config import EncoderConfig


def own_sizes(source: str) -> "EncoderConfig | None":
    """Finds the sizes of the models of a run, or of a saved model.

    Args:
        source: Source of a backbone, as `find_backbone` takes it.

    Returns:
        Sizes of a search's candidates, of a pre-training, or of a saved model. None for other sources, and
        for a search from a model, whose feed-forward blocks have widths of their own.

    Raises:
        UserError: A config or a tokenizer cannot be read.
    """
    from autobert_zero.run_folder import PRETRAINING, SEARCH

    folder = named_folder(source)
    if folder is None:
        return None
    if (folder / SEARCH.marker).exists():
        return _search_sizes(folder)
    if (folder / "config.json").exists():
        return _saved_model_sizes(folder / "config.json")
    return _pretraining_sizes(folder) if (folder / PRETRAINING.marker).exists() else None


def _search_sizes(folder: Path) -> "EncoderConfig | None":
    from autobert_zero.search.config import read_search_config

    config = read_search_config(folder)
    if config.distil is not None:
        return None
    return config.model.encoder_config(_vocabulary(folder, config.data.vocab_size), config.data.length)


def _pretraining_sizes(folder: Path) -> "EncoderConfig":
    from autobert_zero.pretrain.folder import read_pretrain_config

    config = read_pretrain_config(folder)
    return config.sizes(_vocabulary(folder, config.data.vocab_size))


def _saved_model_sizes(path: Path) -> "EncoderConfig":
    from autobert_zero.encoder_config import BERT_BASE, HF_NAMES

    settings = read_json(path)
    given = {field: settings[name] for name, field in HF_NAMES.items() if name in settings}
    try:
        return replace(BERT_BASE, **given)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: {error}") from None


def _vocabulary(folder: Path, default: int) -> int:
    """Number of tokens of a run's tokenizer, or the default before the run has one."""
    from autobert_zero.data.tokenizer import load_tokenizer
    from autobert_zero.run_folder.names import TOKENIZER

    path = folder / TOKENIZER
    return int(load_tokenizer(str(path)).get_vocab_size()) if path.exists() else default
