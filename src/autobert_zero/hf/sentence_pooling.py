"""The pooling that embeds texts: the one set for sentence-transformers in a model's folder, or the mean."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers.utils import cached_file

from autobert_zero.errors import UserError
from autobert_zero.nn.rows import mean_state

_MODULES = "modules.json"
_FOLDER = "1_Pooling"
"""Folder of the pooling's config where modules.json names no other."""

POOLING_SETTINGS = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens"}
"""The library's setting for each pooling; its newer versions have the one setting `pooling_mode`."""


@dataclass(frozen=True)
class SentencePooling:
    """From the last hidden states of a text to its vector.

    Attributes:
        mode: `mean` of all tokens except padding, or the first token (`cls`).
        normalised: Whether vectors are scaled to length 1.
    """

    mode: Literal["mean", "cls"] = "mean"
    normalised: bool = False

    def __str__(self) -> str:
        return f"{self.mode} pooling" + (", scaled to length 1" if self.normalised else "")

    def __call__(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pools the states.

        Args:
            states: (B, n, d).
            mask: (B, n) booleans, True at real tokens.

        Returns:
            (B, d).
        """
        if self.mode == "cls":
            first = mask.int().argmax(1)  # not 0 where padding is on the left
            vectors = states[torch.arange(len(states), device=states.device), first]
        else:
            vectors = mean_state(states, mask)
        return torch.nn.functional.normalize(vectors, dim=-1) if self.normalised else vectors


def sentence_pooling(source: str) -> SentencePooling:
    """The pooling of a model; the mean where it has no settings of sentence-transformers.

    Args:
        source: A folder, or a name on the Hub.

    Raises:
        UserError: The settings are damaged, or ask for something else than cls or mean and a scaling.
    """
    path, modules = _read(source, _MODULES)
    folder, kinds = _FOLDER, []
    try:
        for module in modules or ():
            kinds.append(str(module["type"]).rpartition(".")[2])
            folder = module["path"] if kinds[-1] == "Pooling" else folder
    except (KeyError, TypeError) as error:
        raise _damaged(path, error) from None
    other = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    if other:
        raise UserError(
            f"{source} embeds texts with a module {other[0]} ({_MODULES}); use it with sentence-transformers"
        )
    return SentencePooling(_mode(*_read(source, f"{folder}/config.json")), "Normalize" in kinds)


def _mode(path: str, settings: Any) -> Literal["mean", "cls"]:
    if settings is None:
        return "mean"
    try:
        chosen = [mode for mode, name in POOLING_SETTINGS.items() if settings.get(name)]
        chosen = chosen or [settings["pooling_mode"]]
    except (KeyError, AttributeError) as error:
        raise _damaged(path, error) from None
    if chosen == ["mean"]:
        return "mean"
    if chosen == ["cls"]:
        return "cls"
    raise UserError(f"{path} pools by {', '.join(map(str, chosen))}; only cls or mean can be computed here")


def _read(source: str, name: str) -> tuple[str, Any]:
    """The path and the content of a JSON file of a model; None where the model lacks it."""
    path = cached_file(
        source,
        name,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if path is None:
        return name, None
    try:
        return path, json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from None


def _damaged(path: str, error: Exception) -> UserError:
    return UserError(f"{path} is damaged ({error}); export or save the model again")
