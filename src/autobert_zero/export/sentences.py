"""Writes the files that sentence-transformers needs to load an exported folder."""

import json
from pathlib import Path
from typing import Any

from autobert_zero.errors import UserError
from autobert_zero.export.sources import SourceModel
from autobert_zero.hf.sentence_pooling import POOLING_SETTINGS

# These names work in all versions of the library; versions before 5.4 know no others.
_MODULES = (
    ("", "sentence_transformers.models.Transformer"),
    ("1_Pooling", "sentence_transformers.models.Pooling"),
)


def check_sentence_embeddings(source: SourceModel, pooling: str) -> None:
    """Checks that a model can embed sentences, before anything is written.

    Raises:
        UserError: The pooling is unknown, or the model has no tokenizer.
    """
    if pooling not in POOLING_SETTINGS:
        known = " or ".join(POOLING_SETTINGS)
        raise UserError(f"sentence embeddings are pooled by {known}, not by {pooling!r}")
    if source.tokenizer is None:
        raise UserError(
            f"{source.name} has no tokenizer, which sentence embeddings need; save it in the same folder"
        )


def sentence_length(source: SourceModel) -> int:
    """Number of tokens that texts are truncated to, the length that the model was trained with."""
    assert source.tokenizer is not None
    return min(source.tokenizer.model_max_length, source.model.config.max_position_embeddings)


def write_sentence_embeddings(source: SourceModel, folder: Path, pooling: str) -> None:
    """Writes the configs of two modules: the model, then a pooling of its last hidden states.

    Args:
        source: A model that has a tokenizer.
        folder: Folder of the exported model.
        pooling: `mean`, the mean of all tokens' states, or `cls`, the first token's state.
    """
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": kind}
        for index, (path, kind) in enumerate(_MODULES)
    ]
    settings: dict[str, Any] = {
        "modules.json": modules,
        "sentence_bert_config.json": {"max_seq_length": sentence_length(source), "do_lower_case": False},
        "config_sentence_transformers.json": {
            "model_type": "SentenceTransformer",
            "prompts": {},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
        "1_Pooling/config.json": {
            "word_embedding_dimension": source.model.config.hidden_size,
            **{setting: name == pooling for name, setting in POOLING_SETTINGS.items()},
            "include_prompt": True,
        },
    }
    for name, content in settings.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
