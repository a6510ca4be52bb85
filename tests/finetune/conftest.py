"""A tiny model and a tiny task, which the tests of fine-tuning share; none writes into them."""

import json
from pathlib import Path
from random import Random

import hf_samples
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from autobert_zero.hf import AutoBertZeroForMaskedLM

WORDS = ["good", "bad", "film", "play", "the", "a", "it", "was"]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with random weights and a tokenizer of eight words."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    AutoBertZeroForMaskedLM(hf_samples.config(hidden_dropout_prob=0.0)).save_pretrained(folder)
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SST-2 in a made-up language: a sentence is good if it says so."""
    folder = tmp_path_factory.mktemp("data") / "sst2"
    folder.mkdir()
    random = Random(0)
    for split, count in (("train", 256), ("validation", 64), ("test", 8)):
        examples = []
        for _ in range(count):
            label = random.randrange(2)
            words = [*random.choices(WORDS[2:], k=5), WORDS[1 - label]]
            random.shuffle(words)
            examples.append({"sentence": " ".join(words), "label": label})
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(example) + "\n" for example in examples))
    return folder
