"""The folder of a pre-training: its config and, once it is finished, its summary."""

from pathlib import Path
from typing import Any

from autobert_zero.errors import UserError
from autobert_zero.files import read_json
from autobert_zero.pretrain.config import PretrainConfig
from autobert_zero.run_folder import PRETRAINING, check_run, kind_of
from autobert_zero.run_folder.names import SUMMARY
from autobert_zero.settings import read_yaml, saved_config


def read_pretrain_config(out: Path) -> PretrainConfig:
    """Reads the config of a pre-training, to resume it.

    Raises:
        UserError: There is none in the folder, or it is damaged.
    """
    check_run(out, PRETRAINING)
    path = out / PRETRAINING.marker
    try:
        return saved_config(PretrainConfig, read_yaml(path))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); start another run") from None


def read_summary(out: Path) -> dict[str, Any] | None:
    """The summary of a finished training; None for another folder.

    Raises:
        UserError: It is damaged.
    """
    path = out / SUMMARY
    if not path.exists() or kind_of(out) is not PRETRAINING:
        return None
    return read_json(path)
