"""Tiny trained models of every kind, with tokenizers of whole words, as folders."""

from pathlib import Path
from typing import Any

import hf_samples
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from autobert_zero.hf import AutoBertZeroForSequenceClassification, AutoBertZeroForTokenClassification

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["good", "bad", "film", "play", "the", "a", "it", "was", "in", "Paris", "Anna", "lives", ".", "who"]
LENGTH = 16
"""Maximum number of tokens of the tokenizers; the models of `hf_samples` have 20 positions."""


def tokenizer(length: int | None = LENGTH, **changes: Any) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words and punctuation."""
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL}
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=length, **names | changes)


def save(folder: Path, model: PreTrainedModel, **changes: Any) -> Path:
    """Saves a model, all of whose weights are drawn, with its tokenizer."""
    hf_samples.randomise(model)
    model.save_pretrained(folder)
    tokenizer(**changes).save_pretrained(folder)
    return folder


def classifier(folder: Path, *names: str, **config: Any) -> Path:
    """A classifier of ours with these classes."""
    numbered = dict(enumerate(names))
    numbers = {name: number for number, name in numbered.items()}
    return save(
        folder,
        AutoBertZeroForSequenceClassification(
            hf_samples.config(id2label=numbered, label2id=numbers, **config)
        ),
    )


TAGS = {"Anna": "B-PER", "Paris": "B-LOC", "lives": "I-LOC"}
"""Of `tagger`; all other words have the tag O."""


def tagger(folder: Path, tags: dict[str, str] = TAGS, rest: str = "O", **changes: Any) -> Path:
    """A token classifier that gives each word of its vocabulary a certain tag, whatever is around it."""
    names = dict(enumerate(sorted({rest, *tags.values()})))
    numbers = {name: number for number, name in names.items()}
    wide = len(SPECIAL) + len(WORDS)  # a state has a one at its word's number
    config = hf_samples.config(
        ["conv 3"], hidden_size=wide, num_attention_heads=1, id2label=names, label2id=numbers
    )
    model = AutoBertZeroForTokenClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for name, parameter in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                parameter.fill_(1.0)
        embeddings = model.encoder.embeddings.token.weight
        embeddings[:wide].copy_(torch.eye(wide))
        for number, word in enumerate([*SPECIAL, *WORDS]):
            model.classifier.weight[numbers[tags.get(word, rest)], number] = 1.0
    model.save_pretrained(folder)
    tokenizer(**changes).save_pretrained(folder)
    return folder
