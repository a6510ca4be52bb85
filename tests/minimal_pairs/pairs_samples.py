"""Models, tokenizers and pairs for tests of minimal pairs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerBase

from autobert_zero.data.normalisation import SPECIAL_TOKENS
from autobert_zero.hf.tokenizer import wrap_tokenizer
from autobert_zero.minimal_pairs.data import Pair

PIECES = ["the", "a", "cat", "cats", "dog", "run", "runs", "sleep", "##s", "##ing", "jump", "##er", "."]


def tokenizer(length: int | None = 32) -> PreTrainedTokenizerBase:
    """WordPiece with a few words, some of which are several pieces: `sleeps` is `sleep ##s`."""
    vocabulary = {piece: number for number, piece in enumerate([*SPECIAL_TOKENS, *PIECES])}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return wrap_tokenizer(made, length)


def bert(seed: int = 0, **changes: object) -> BertForMaskedLM:
    """A small BERT of `transformers` with random weights, large enough that tokens differ."""
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": len(SPECIAL_TOKENS) + len(PIECES),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
        "initializer_range": 0.5,
    }
    return BertForMaskedLM(BertConfig(**sizes | changes)).eval()


SENTENCES = [
    ("the cat runs .", "the cats runs ."),
    ("the dog sleeps .", "the dog sleep ."),
    ("a jumper jumps .", "a jumpers jumps ."),
    ("the cats sleep", "a cats sleep"),
    ("the dog is sleeping .", "the dog sleeping is ."),  # `is` is unknown
    ("the jumpersings run .", "the runs jumpersings ."),
]


def pairs() -> list[Pair]:
    """Pairs of two paradigms, with words of several pieces and unknown ones."""
    return [
        Pair(good, bad, f"paradigm_{number % 2}", "agreement", "syntax", f"pairs, line {number + 1}")
        for number, (good, bad) in enumerate(SENTENCES)
    ]


@torch.no_grad()
def loop_score(
    text: str, model: nn.Module, tokens: PreTrainedTokenizerBase, within_word: bool = False
) -> float:
    """The definition: one forward pass of one sentence for each of its tokens."""
    encoded = tokens(text)
    ids, words = torch.tensor(encoded["input_ids"]), encoded.word_ids()
    score = 0.0
    for place, word in enumerate(words):
        if word is None:
            continue
        masked = ids.clone()
        for other, its_word in enumerate(words):
            if other == place or (within_word and its_word == word and other > place):
                masked[other] = tokens.mask_token_id
        logits = model(input_ids=masked[None]).logits[0, place]  # (v,)
        score += logits.double().log_softmax(0)[ids[place]].item()
    return score


def write_lines(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Writes a jsonl file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def finite(values: npt.ArrayLike) -> bool:
    """Whether all are numbers."""
    return bool(np.isfinite(values).all())
