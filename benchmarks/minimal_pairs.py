"""Speed of pseudo-log-likelihoods against plain loops, and the accuracy of a model on minimal pairs.

    python benchmarks/minimal_pairs.py [--model DIR] [--data FILE_OR_FOLDER] [--within-word] [--quick]

The same sentences are scored in four ways by the same weights in single precision, in turns, in random
order: `ours`; `token_loop`, a forward pass of one sentence for each masked token; `sentence_loop`, a forward
pass for each sentence with all its masked copies as the batch; and `bf16`, ours with the encoder in bfloat16.
Both loops call the model's class of `transformers`, tokenisation included on every side. Ratios are medians
over the rounds. Without `--model` the weights are random (hybrid, 4 layers of width 128, vocabulary 8,192);
without `--data` the pairs are beginnings (eight words) of lines of the embedded corpus, once with two
neighbouring words exchanged.

Prints one JSON object as its last line: `speedup` (over `token_loop`), `speedup_over_sentence_loop`,
`sentences_per_second` of each way, `largest_difference` of the scores from those of `token_loop`,
`bf16_decides_otherwise` (share of the pairs), and, with `--model`, `accuracy`, its `interval` and the
`seconds` on all pairs (with `--quick` on the timed ones).
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autobert_zero import zoo
from autobert_zero.data.corpus import open_corpus
from autobert_zero.data.kinds import train_kind
from autobert_zero.devices import find_device
from autobert_zero.hf import from_masked_lm
from autobert_zero.hf.tokenizer import wrap_tokenizer
from autobert_zero.minimal_pairs.data import Pair, read_pairs, subset
from autobert_zero.minimal_pairs.measure import TokenisedPairs
from autobert_zero.minimal_pairs.models import ScoredModel, open_scored
from autobert_zero.nn import EncoderConfig, MaskedLM

Scores = NDArray[np.float64]
Method = Callable[[], Scores]
"""Scores all sentences."""

WORDS = 8


def made_up_pairs(count: int) -> list[Pair]:
    """Makes pairs of the first words of lines, and the same with two neighbouring words swapped."""
    random, pairs = Random(0), []
    for line in open_corpus("kjv").paragraphs:
        words = line.split()[:WORDS]
        index = random.randrange(WORDS - 1)
        if len(words) == WORDS and words[index] != words[index + 1]:
            swapped = [*words[:index], words[index + 1], words[index], *words[index + 2 :]]
            pairs.append(Pair(" ".join(words), " ".join(swapped), "exchanged words"))
    return subset(pairs, count)


def random_model() -> ScoredModel:
    """Makes the hybrid with 1.9 M random weights."""
    length = 128
    tokenizer = train_kind(open_corpus("kjv"), 8192)[0]
    torch.manual_seed(0)
    sizes = EncoderConfig(tokenizer.get_vocab_size(), 128, 4, max_positions=length)
    model = from_masked_lm(MaskedLM(zoo.hybrid(4), sizes))
    return ScoredModel("random weights", model, wrap_tokenizer(tokenizer, length), length)


@torch.inference_mode()
def token_loop(scored: ScoredModel, texts: Sequence[str], at_once: bool = False) -> Scores:
    """Scores sentences by the plain loop over their tokens.

    Args:
        scored: The model.
        texts: The sentences.
        at_once: Whether the masked copies of a sentence are one batch, or each is a batch of its own.
    """
    scores = np.zeros(len(texts))
    model: Any = scored.model
    device = next(model.parameters()).device
    for number, text in enumerate(texts):
        ids = scored.tokenizer(text, return_tensors="pt")["input_ids"].to(device)  # (1, n)
        positions = torch.arange(1, ids.shape[1] - 1, device=device)  # between [CLS] and [SEP]
        copies = ids.repeat(len(positions), 1)  # (n - 2, n)
        copies[torch.arange(len(positions)), positions] = scored.tokenizer.mask_token_id
        batches = [slice(None)] if at_once else [slice(row, row + 1) for row in range(len(positions))]
        for rows in batches:
            logits = model(input_ids=copies[rows]).logits  # (b, n, v)
            chosen = logits[torch.arange(len(logits)), positions[rows]].log_softmax(-1)  # (b, v)
            scores[number] += chosen.gather(1, ids[0, positions[rows], None]).sum().item()
    return scores


def grouped(scored: ScoredModel, pairs: Sequence[Pair], precision: Any, within_word: bool = False) -> Scores:
    """Scores sentences with this package: the good and the bad sentence of each pair, alternately."""
    tokenised = TokenisedPairs(pairs, scored.tokenizer, scored.positions, within_word)
    results = tokenised.measure(scored.model, precision)
    return np.array([score for pair in results.pairs for score in (pair.good, pair.bad)])


def measure_in_rounds(
    methods: dict[str, Method], rounds: int
) -> tuple[dict[str, list[float]], dict[str, Scores]]:
    """Seconds of each method in each round, in random order, after a warm-up round; and its scores."""
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    scores: dict[str, Scores] = {}
    random = Random(0)
    for round_ in range(rounds + 1):
        for name in random.sample(list(methods), len(methods)):
            start = time.perf_counter()
            scores[name] = methods[name]()
            if round_:
                seconds[name].append(time.perf_counter() - start)
    return seconds, scores


def main() -> None:
    """Runs the benchmark and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", help="as minimal-pairs takes it; default: random weights")
    parser.add_argument("--data", type=Path, help="as minimal-pairs takes it; default: made up")
    parser.add_argument("--within-word", action="store_true", help="for the accuracy")
    parser.add_argument("--quick", action="store_true", help="fewer pairs, one round")
    options = parser.parse_args()

    count, rounds = (50, 1) if options.quick else (500, 3)
    pairs = read_pairs([options.data]) if options.data else made_up_pairs(count)
    scored = open_scored(options.model) if options.model else random_model()
    scored.model.to(find_device("auto"))
    scored.model.eval()
    timed = subset(pairs, count)
    texts = [text for pair in timed for text in (pair.good, pair.bad)]
    methods: dict[str, Method] = {
        "ours": lambda: grouped(scored, timed, "fp32"),
        "bf16": lambda: grouped(scored, timed, "bf16"),
        "token_loop": lambda: token_loop(scored, texts),
        "sentence_loop": lambda: token_loop(scored, texts, at_once=True),
    }
    seconds, scores = measure_in_rounds(methods, rounds)
    for name, values in seconds.items():
        print(f"{name}: {len(texts) / median(values):,.0f} sentences/s", file=sys.stderr)
    exact, low = (scores[name].reshape(-1, 2) for name in ("ours", "bf16"))  # (pairs, good and bad)
    result: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in scored.model.parameters()),
        "sentences": len(texts),
        "speedup": ratio(seconds, "token_loop"),
        "speedup_over_sentence_loop": ratio(seconds, "sentence_loop"),
        "sentences_per_second": {name: len(texts) / median(values) for name, values in seconds.items()},
        "largest_difference": float(np.abs(scores["ours"] - scores["token_loop"]).max()),
        "bf16_decides_otherwise": float(np.mean((exact[:, 0] > exact[:, 1]) != (low[:, 0] > low[:, 1]))),
    }
    if options.model:
        chosen = timed if options.quick else pairs
        start = time.perf_counter()
        tokenised = TokenisedPairs(chosen, scored.tokenizer, scored.positions, options.within_word)
        overall = tokenised.measure(scored.model).overall
        result |= {"seconds": time.perf_counter() - start, "pairs": overall.pairs}
        result |= {"accuracy": overall.share, "interval": overall.interval}
    print(json.dumps(result))


def ratio(seconds: dict[str, list[float]], other: str) -> float:
    """Speed of this package relative to another method: the median over the rounds."""
    return median(b / a for a, b in zip(seconds["ours"], seconds[other], strict=True))


if __name__ == "__main__":
    main()
