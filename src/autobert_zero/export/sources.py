"""What can be exported: the winner of a run, or a saved model."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from autobert_zero.data.masking import Vocabulary
from autobert_zero.errors import UserError
from autobert_zero.hf import AutoBertZeroPreTrainedModel, from_masked_lm
from autobert_zero.hf.auto import MODELS
from autobert_zero.hf.tokenizer import as_berts
from autobert_zero.nn import MaskedLM
from autobert_zero.search.run import read_run
from autobert_zero.space import Backbone


@dataclass(frozen=True)
class Source:
    """A model and what is known of it.

    Attributes:
        name: What it is called on its card.
        model: With its head, in evaluation mode.
        tokenizer: The one that it was trained with; None where the folder has none.
        summary: The `summary.json` of its run; None for a saved model.
        settings: The config of its run; None for a saved model.
    """

    name: str
    model: AutoBertZeroPreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    summary: dict[str, Any] | None = None
    settings: dict[str, Any] | None = None


def open_source(folder: Path) -> Source:
    """Reads a finished run or a model that `save_pretrained` wrote.

    Raises:
        UserError: The folder is neither, or it is damaged.
    """
    if (folder / "config.yaml").exists():
        return _from_run(folder)
    if (folder / "config.json").exists():
        return _from_model(folder)
    raise UserError(f"{folder} holds neither a run (config.yaml) nor a saved model (config.json)")


def _from_run(folder: Path) -> Source:
    weights, summary_path = folder / "model.safetensors", folder / "summary.json"
    if not (weights.exists() and summary_path.exists()):
        raise UserError(
            f"the run in {folder} is not finished; continue it with: search --out {folder} --resume"
        )
    config, _ = read_run(folder)
    try:
        summary = json.loads(summary_path.read_text(encoding="utf-8"))
        backbone = Backbone.from_list(summary["best"]["backbone"])
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        vocabulary = Vocabulary.of(tokenizer).size
        model = MaskedLM(backbone, config.model.encoder_config(vocabulary, config.data.length))
        model.load_state_dict(load_file(weights))
    except Exception as error:  # each library has its own kinds for each damage
        raise UserError(f"the run in {folder} is damaged: {str(error).splitlines()[0]}") from error
    return Source(
        name=folder.resolve().name,
        model=from_masked_lm(model, pad_token_id=tokenizer.token_to_id("[PAD]")),
        tokenizer=as_berts(tokenizer, model.encoder.config.length_limit),
        summary=summary,
        settings=config.model_dump(),
    )


def _from_model(folder: Path) -> Source:
    config = AutoConfig.from_pretrained(folder)
    if config.model_type != "autobert-zero":
        raise UserError(f"{folder} holds a model of type {config.model_type}, not autobert-zero")
    known = {model.__name__: model for model in MODELS.values()}
    named = (config.architectures or ["AutoBertZeroForMaskedLM"])[0]
    if named not in known:
        raise UserError(f"{folder} holds a {named}; there are {', '.join(known)}")
    try:
        model = known[named].from_pretrained(folder)
    except OSError as error:
        raise UserError(f"{folder}: {str(error).splitlines()[0]}") from None
    assert isinstance(model, AutoBertZeroPreTrainedModel)
    has_tokenizer = (folder / "tokenizer.json").exists() or (folder / "vocab.txt").exists()
    return Source(
        name=folder.resolve().name,
        model=model.eval(),
        tokenizer=AutoTokenizer.from_pretrained(folder) if has_tokenizer else None,
    )
