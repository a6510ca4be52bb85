"""The model to fine-tune: its source, its tokenizer, and the limits of both."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

from autobert_zero.errors import UserError, first_line
from autobert_zero.hf import AutoBertZeroConfig
from autobert_zero.hf.configuration import POOLINGS
from autobert_zero.hf.foreign import find_model
from autobert_zero.run_folder import Input
from autobert_zero.run_folder.digests import model_digest

DEFAULT_LENGTH = 128
"""Default maximum tokens of a sequence, if the model has as many positions."""


@dataclass(frozen=True)
class Pretrained:
    """A pre-trained model that is not loaded yet.

    Attributes:
        source: A folder or a name on the Hub, as the user wrote it.
        config: Its config.
        tokenizer: Its tokenizer, with a padding token and only inputs that the model takes.
        positions: Maximum tokens of a sequence; None for a model without a limit.
    """

    source: str
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    positions: int | None

    @property
    def identity(self) -> Input:
        """A digest of weights, config and tokenizer, or the revision on the Hub."""
        revision = getattr(self.config, "_commit_hash", None)
        return Input(model_digest(Path(self.source)) or str(revision), self.source)

    def length(self, asked: int | None) -> int:
        """Chooses the maximum number of tokens in a sequence.

        Args:
            asked: The user's choice; None for `DEFAULT_LENGTH`, or all positions if they are fewer; 0 for
                all positions.

        Raises:
            UserError: The model does not have that many positions.
        """
        if not asked:
            limit = self.positions or DEFAULT_LENGTH
            return min(DEFAULT_LENGTH, limit) if asked is None else limit
        if self.positions is not None and asked > self.positions:
            raise UserError(
                f"--length {asked} is more than the {self.positions} positions of {self.source}; choose at "
                f"most {self.positions}, or pre-train with longer sequences"
            )
        return asked

    def poolings(self, asked: str | None) -> tuple[str | None, ...]:
        """The poolings to try, the default first: all for `auto`, otherwise the requested one."""
        if asked != "auto":
            return (asked,)
        usual = getattr(self.config, "classifier_pooling", None)
        return (usual,) if usual is None else (usual, *(pooling for pooling in POOLINGS if pooling != usual))

    def pooling(self, chosen: str | None) -> str | None:
        """The pooling of a classifier: the chosen one, or that of its config; None without a choice."""
        return chosen or getattr(self.config, "classifier_pooling", None)

    def changes(self, pooling: str | None) -> dict[str, Any]:
        """Changes to the config for fine-tuning: the chosen pooling, and a missing padding token.

        Raises:
            UserError: The pooling of the model cannot be chosen.
        """
        changes: dict[str, Any] = {}
        if getattr(self.config, "pad_token_id", None) is None:
            changes["pad_token_id"] = self.tokenizer.pad_token_id
        if pooling is not None:
            if not hasattr(self.config, "classifier_pooling"):
                raise UserError(f"{self.source} is not an AutoBERT-Zero: how it pools cannot be chosen")
            changes["classifier_pooling"] = pooling
        return changes


def open_model(source: str) -> Pretrained:
    """Opens a model with its tokenizer, and checks that they fit each other.

    Args:
        source: A folder of `save_pretrained` or an exported one, or a name on the Hub.

    Raises:
        UserError: There is no such model, it has no tokenizer, needs custom code, or its tokenizer has tokens
            that it does not know.
    """
    place = find_model(source)
    config = _from_pretrained(AutoConfig, place, f"{source} is not a model")
    tokenizer = _from_pretrained(
        AutoTokenizer,
        place,
        f"{source} has no tokenizer that can be read",
        "; export the run, or save the tokenizer next to it",
        needed=("tokenizer.json", "tokenizer_config.json"),
    )
    skeleton = _skeleton(source, config)
    _check_vocabulary(source, config, tokenizer)
    _prepare(source, config, tokenizer, skeleton)
    return Pretrained(place, config, tokenizer, _positions(config, skeleton))


def _from_pretrained(
    kind: Any, place: str, problem: str, remedy: str = "", needed: Sequence[str] = ()
) -> Any:
    """Loads a config or a tokenizer, without running custom code or asking about it.

    An error names the `needed` files if a folder has none of them; that of transformers names none.
    """
    try:
        return kind.from_pretrained(place, trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds, tokenizers bare Exception
        folder = Path(place)
        lacks = needed and folder.is_dir() and not any((folder / name).is_file() for name in needed)
        reason = f"no {' or '.join(needed)}" if lacks else first_line(error)
        raise UserError(f"{problem} ({reason}){remedy}") from None


def _skeleton(source: str, config: PreTrainedConfig) -> nn.Module:
    """The encoder on the meta device, without weights."""
    try:
        with torch.device("meta"):
            model: nn.Module = AutoModel.from_config(config, trust_remote_code=False)
    except Exception as error:  # a config may hold anything
        raise UserError(f"{source} cannot be built from its config.json: {first_line(error)}") from None
    return model


def _check_vocabulary(source: str, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    size = getattr(config, "vocab_size", None)
    numbers = max(tokenizer.get_vocab().values(), default=-1) + 1
    if size is not None and numbers > size:
        raise UserError(
            f"the tokenizer of {source} has {numbers} tokens, but the model knows {size}; they do not belong "
            "together"
        )


def _prepare(
    source: str, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, skeleton: nn.Module
) -> None:
    """Gives the tokenizer a padding token, and restricts it to inputs that the model takes."""
    if tokenizer.pad_token is None:
        # It is masked, so any token will do; generative models have no other.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise UserError(f"the tokenizer of {source} has no token for padding; give it a pad_token")
    takes = set(inspect.signature(skeleton.forward).parameters)
    if getattr(config, "type_vocab_size", 2) < 2:
        takes.discard("token_type_ids")
    tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name in takes]
    if "input_ids" not in tokenizer.model_input_names:
        raise UserError(f"{source} is a model of type {config.model_type}, which does not take text")


def _positions(config: PreTrainedConfig, skeleton: nn.Module) -> int | None:
    """Maximum tokens of a sequence; None for unlimited positions, as in XLNet and T5."""
    if isinstance(config, AutoBertZeroConfig):
        return config.encoder_config().length_limit
    limit = getattr(config, "max_position_embeddings", None)
    if not isinstance(limit, int) or limit <= 0:
        return None
    tables = [
        module
        for name, module in skeleton.named_modules()
        if isinstance(module, nn.Embedding)
        and name.rpartition(".")[2] == "position_embeddings"
        and module.num_embeddings == limit
    ]
    # RoBERTa and similar models count positions from the one after padding.
    unused = [table.padding_idx + 1 for table in tables if table.padding_idx is not None]
    return limit - max(unused, default=0)
