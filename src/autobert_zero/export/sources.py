"""Reads what can be exported: the winner of a run, or a saved model."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from autobert_zero.data.masking import Vocabulary
from autobert_zero.errors import UserError
from autobert_zero.files import read_json
from autobert_zero.hf import (
    AutoBertZeroConfig,
    AutoBertZeroModel,
    AutoBertZeroPreTrainedModel,
    from_masked_lm,
)
from autobert_zero.hf.auto import MODELS
from autobert_zero.hf.loading import first_few, tensor_differences
from autobert_zero.hf.tokenizer import wrap_tokenizer
from autobert_zero.minimal_pairs.results import read_results
from autobert_zero.nn import MaskedLM
from autobert_zero.run_folder.names import (
    FINALS,
    FINETUNING,
    PRETRAINING,
    SCORE,
    SEARCH,
    SUMMARY,
    TOKENIZER,
    WEIGHTS,
)
from autobert_zero.search.outputs import read_winner
from autobert_zero.search_runs.folder import read_run_start

_SUMMARY_FIELDS = ("steps", "tokens", "seed", "holdout_loss")
"""Fields of a pre-training's summary that the card needs."""

_SCORE_FIELDS = ("task", "rate", "seeds", "mean")
"""Fields of a fine-tuning's score that the card needs."""


@dataclass(frozen=True)
class SourceModel:
    """A model and what is known about its training.

    Attributes:
        name: Title of its card.
        model: The model with its head, in evaluation mode.
        tokenizer: The tokenizer that it was trained with; None if the folder has none.
        summary: The `summary.json` of its run or pre-training; None for other saved models.
        settings: The config of its run; None for a saved model.
        minimal_pairs: The results on minimal pairs in its folder; None if there are none.
        score: The `score.json` of its fine-tuning; None for other models.
    """

    name: str
    model: AutoBertZeroPreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    summary: dict[str, Any] | None = None
    settings: dict[str, Any] | None = None
    minimal_pairs: dict[str, Any] | None = None
    score: dict[str, Any] | None = None


def open_source(folder: Path) -> SourceModel:
    """Reads a finished run or a model that `save_pretrained` wrote, without running code from the folder.

    Raises:
        UserError: The folder is neither, or it is damaged; the message names the file.
    """
    if (folder / SEARCH.marker).exists():
        return _from_run(folder)
    if (folder / "config.json").exists():
        return _from_model(folder)
    raise UserError(f"{folder} holds neither a run ({SEARCH.marker}) nor a saved model (config.json)")


def _from_run(folder: Path) -> SourceModel:
    summary, winner = read_winner(folder)
    config, _ = read_run_start(folder)
    if config.distil is not None:  # a search from a model keeps its winner as a model
        return replace(
            _from_model(folder / FINALS),
            name=folder.resolve().name,
            summary=summary,
            settings=config.model_dump(),
            minimal_pairs=read_results(folder),
        )
    with reading(folder / TOKENIZER):
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        vocabulary = Vocabulary.of(tokenizer).size
    model = MaskedLM(winner, config.model.encoder_config(vocabulary, config.data.length))
    with reading(folder / WEIGHTS):
        model.load_state_dict(load_file(folder / WEIGHTS))
    return SourceModel(
        name=folder.resolve().name,
        model=from_masked_lm(model, pad_token_id=tokenizer.token_to_id("[PAD]")),
        tokenizer=wrap_tokenizer(tokenizer, model.encoder.config.length_limit),
        summary=summary,
        settings=config.model_dump(),
        minimal_pairs=read_results(folder),
    )


def _from_model(folder: Path) -> SourceModel:
    stored = read_json(folder / "config.json")
    kind = stored.get("model_type")
    if kind != AutoBertZeroConfig.model_type:
        raise UserError(f"{folder} holds a model of type {kind}, not {AutoBertZeroConfig.model_type}")
    classes = {model.__name__: model for model in MODELS.values()}
    architectures = stored.get("architectures") or ["AutoBertZeroForMaskedLM"]
    name = architectures[0] if isinstance(architectures, list) else architectures
    if not isinstance(name, str) or name not in classes:
        raise UserError(f"{folder} holds a {name}; only {', '.join(classes)} can be exported")
    with reading(folder):
        model, info = classes[name].from_pretrained(folder, output_loading_info=True)
        if name == AutoBertZeroModel.__name__ and _only_pooler(info["missing_keys"]):
            # Saved without a pooler, as a distilled encoder is.
            model, info = AutoBertZeroModel.from_pretrained(
                folder, output_loading_info=True, add_pooling_layer=False
            )
    if info["missing_keys"]:
        raise UserError(f"{folder} lacks weights of its {name}: {first_few(tensor_differences(info))}")
    tokenizer = _tokenizer(folder)
    if tokenizer is not None and len(tokenizer) > model.config.vocab_size:
        raise UserError(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, its model {model.config.vocab_size}; "
            "it belongs to another model"
        )
    return SourceModel(
        folder.resolve().name,
        model.eval(),
        tokenizer,
        summary=_pretraining(folder),
        score=_finetuning(folder),
        minimal_pairs=read_results(folder),
    )


def _only_pooler(missing: Collection[str]) -> bool:
    return bool(missing) and all(name.startswith("pooler.") for name in missing)


def _pretraining(folder: Path) -> dict[str, Any] | None:
    """The summary of the pre-training that wrote a folder; None if another tool wrote it."""
    if not (folder / PRETRAINING.marker).exists() or not (folder / SUMMARY).exists():
        return None
    summary = read_json(folder / SUMMARY)
    accuracy = () if "teacher" in summary else ("holdout_mlm_accuracy",)
    needed = (*_SUMMARY_FIELDS, *accuracy)
    missing = [name for name in needed if not isinstance(summary.get(name), int | float)]
    if missing:
        raise UserError(f"{folder / SUMMARY} is damaged: it lacks {', '.join(missing)}")
    return summary


def _finetuning(folder: Path) -> dict[str, Any] | None:
    """The score of the fine-tuning that wrote a folder; None if another tool wrote it."""
    path = folder / SCORE
    if not (folder / FINETUNING.marker).exists() or not path.exists():
        return None
    score = read_json(path)
    missing = [name for name in _SCORE_FIELDS if name not in score]
    if missing or not isinstance(score["mean"], dict):
        raise UserError(f"{path} is damaged: it lacks {', '.join(missing) or 'means'}")
    return score


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase | None:
    """The tokenizer in a model's folder; None if there is none."""
    if not any((folder / name).exists() for name in (TOKENIZER, "tokenizer_config.json", "vocab.txt")):
        return None
    with reading(folder, "the tokenizer"):
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


@contextmanager
def reading(path: Path, part: str = "") -> Iterator[None]:
    """Turns any error while a file or folder is read into a `UserError`; libraries raise many types."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
        subject = f"{part} in {path}" if part else str(path)
        raise UserError(f"{subject} is damaged: {reason.splitlines()[0]}") from error
