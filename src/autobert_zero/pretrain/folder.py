"""The folder of a pre-training: its config and, once it is finished, its summary."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autobert_zero.errors import UserError
from autobert_zero.files import read_json
from autobert_zero.pretrain.config import PretrainConfig
from autobert_zero.run_folder import PRETRAINING, Input, check_run, kind_of, unreadable_file_error
from autobert_zero.run_folder.digests import settings_digest
from autobert_zero.run_folder.names import SUMMARY
from autobert_zero.settings import computing_settings, read_yaml, saved_config

_FREE = computing_settings(PretrainConfig) | {
    *("start", "distil.teacher"),
    *("data.corpus", "data.tokenizer", "text.corpus", "text.tokenizer"),
}
"""Settings that may differ where a training is continued: of how it is computed and reported, and paths of
what is compared by its content. Earlier versions wrote the section `data` as `text`."""


_NEEDED = ("holdout_loss", "tokens", "seconds")
_FIGURES = (
    *_NEEDED,
    *("holdout_mlm_accuracy", "holdout_cosine", "validation_loss"),
    *("parameters", "tokens_per_second", "seed"),
)
"""Figures of a summary that commands and reports show."""


def read_pretrain_config(out: Path) -> PretrainConfig:
    """Reads the config of a pre-training, to resume it.

    Raises:
        UserError: There is none in the folder, or it is damaged.
    """
    check_run(out, PRETRAINING)
    path = out / PRETRAINING.marker
    try:
        return saved_config(PretrainConfig, read_yaml(path))
    except UserError as error:
        raise unreadable_file_error(path, error) from None


def read_summary(out: Path) -> dict[str, Any] | None:
    """The summary of a finished training; None for another folder, and for one that lost its model.

    Raises:
        UserError: It is damaged.
    """
    path = out / SUMMARY
    if not path.exists() or kind_of(out) is not PRETRAINING or not any(out.glob("model*.safetensors")):
        return None
    summary = read_json(path)
    try:
        check_figures(summary)
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); delete it and --resume") from None
    return summary


def check_figures(summary: Mapping[str, Any]) -> None:
    """Checks the figures of a summary; older summaries lack some.

    Raises:
        ValueError: One is no finite number, or is missing although every summary has it.
    """
    for name in _FIGURES:
        value = summary.get(name, None if name in _NEEDED else 0)
        if not (isinstance(value, int | float) and math.isfinite(value)):
            raise ValueError(f"{name} is {value!r}" if name in summary else f"{name} is missing")


def settings_input(config: PretrainConfig, out: Path) -> Input:
    """The settings that a training is a function of: as its folder has them, where it is continued.

    Later versions, which have more settings, find the same.

    Raises:
        UserError: The file in the folder cannot be read.
    """
    resumed = kind_of(out) is PRETRAINING
    written = read_yaml(out / PRETRAINING.marker) if resumed else config.model_dump(mode="json")
    return Input(settings_digest(written, _FREE), PRETRAINING.marker)
