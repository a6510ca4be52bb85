# mypy: disallow-subclassing-any=False
"""Speed of our pre-training against the Trainer of transformers with BertForMaskedLM.

    python benchmarks/pretrain_speed.py [--precision fp32] [--quick]

Both train the BERT backbone on the same random sequences with the same sizes, precision, batch, masking
share, dropout and optimiser, on all cores, from the data to the updated weights: theirs with its collator,
ours with its own batches. Each in a process of its own, as its user would start it: ours keeps freed memory,
as our command line does, theirs does not; a second Trainer does, to tell what that is worth. They take turns;
a ratio is the median over the rounds of our tokens per second over theirs in the same round. Then
AutoBERT-Zero (the first and the last two layers of the published backbone) at the same depth and width, and
the share of the measured matmul peak. Prints one JSON object as its last line.
The file is long because one call runs all of its parts.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from autobert_zero import cost, zoo
from autobert_zero.data.batches import TrainingBatches
from autobert_zero.data.masking import Vocabulary
from autobert_zero.data.normalisation import SPECIAL_TOKENS
from autobert_zero.data.splits import Split
from autobert_zero.hf.tokenizer import wrap_tokenizer
from autobert_zero.memory import keep_freed_memory
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.space import Backbone
from autobert_zero.training.language import language_objective
from autobert_zero.training.loop import Recipe, make_optimizer, train
from autobert_zero.training.precision import Precision, resolve_precision

LAYERS, LENGTH, VOCABULARY = 4, 128, 8192
WARM = 2
"""Steps before the clock starts."""


@dataclass(frozen=True)
class Size:
    """What is trained."""

    name: str
    width: int
    heads: int
    batch: int
    steps: int


@dataclass(frozen=True)
class Round:
    """What a contestant does when it is its turn."""

    size: Size
    rows: Path
    precision: Precision
    dropout: float


SIZES = (Size("tiny", 128, 4, 32, 12), Size("small", 512, 8, 16, 6))


def tokenizer() -> PreTrainedTokenizerFast:
    """One with a vocabulary of the size that is wanted; nothing is tokenised by it."""
    from tokenizers import Tokenizer, models

    names = [*SPECIAL_TOKENS, *(f"word{number}" for number in range(VOCABULARY - len(SPECIAL_TOKENS)))]
    vocabulary = {name: number for number, name in enumerate(names)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.add_special_tokens(list(SPECIAL_TOKENS))
    return wrap_tokenizer(made, LENGTH)


def sequences(folder: Path, count: int) -> Path:
    """Random sequences `[CLS] ... [SEP]` in a file."""
    rows = np.random.default_rng(0).integers(5, VOCABULARY, (count, LENGTH)).astype(np.uint16)
    rows[:, 0], rows[:, -1] = 2, 3
    np.save(folder / "rows.npy", rows)
    return folder / "rows.npy"


class Stopwatch(TrainerCallback):
    """Times the steps of a Trainer after the first ones."""

    seconds = 0.0
    _start = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.global_step == WARM:
            self._start = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.seconds = time.perf_counter() - self._start


def theirs(given: Round) -> Callable[[], float]:
    """Tokens per second of the Trainer."""
    size = given.size
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=size.width,
            num_hidden_layers=LAYERS,
            num_attention_heads=size.heads,
            intermediate_size=4 * size.width,
            max_position_embeddings=LENGTH,
            hidden_dropout_prob=given.dropout,
            attention_probs_dropout_prob=given.dropout,
        )
    )
    data = [{"input_ids": row.tolist()} for row in np.load(given.rows)]
    collator = DataCollatorForLanguageModeling(tokenizer(), mlm_probability=0.15)

    def run() -> float:
        watch = Stopwatch()
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                max_steps=size.steps + WARM,
                per_device_train_batch_size=size.batch,
                learning_rate=1e-4,
                bf16=given.precision == "bf16",
                use_cpu=True,
                report_to=[],
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
            )
            Trainer(
                model=model,
                args=arguments,
                train_dataset=data,
                data_collator=collator,
                callbacks=[watch],
            ).train()
        return size.batch * LENGTH * size.steps / watch.seconds

    return run


def ours(backbone: Backbone, given: Round) -> Callable[[], float]:
    """Tokens per second of our loop."""
    size, precision = given.size, given.precision
    sizes = EncoderConfig(VOCABULARY, size.width, size.heads, max_positions=LENGTH, dropout=given.dropout)
    model = MaskedLM(backbone, sizes)
    part = Split(given.rows, np.arange(len(np.load(given.rows))))
    vocabulary = Vocabulary(VOCABULARY, 4, 3, (0, 2, 3))
    recipe = Recipe(size.steps + WARM, size.batch, 1e-4, precision=precision)

    def run() -> float:
        batches = TrainingBatches(part, vocabulary, size.batch, (0,)).starting(0)
        objective, optimizer = language_objective(precision), make_optimizer(model, recipe)
        train(model, batches, recipe, objective, optimizer=optimizer, steps=range(WARM))
        rest = range(WARM, WARM + size.steps)
        seconds = train(model, batches, recipe, objective, optimizer=optimizer, steps=rest, seed=0)
        return size.batch * LENGTH * size.steps / seconds

    return run


def published() -> Backbone:
    """The first and the last two layers of the published backbone."""
    layers = zoo.autobert_zero_base().layers
    return Backbone((*layers[:2], *layers[-2:]))


CONTESTANTS: dict[str, Callable[[Round], Callable[[], float]]] = {
    "bert": lambda given: ours(zoo.bert(LAYERS), given),
    "zero": lambda given: ours(published(), given),
    "trainer": theirs,
    "trainer_kept": theirs,
}


@lru_cache(maxsize=1)
def contestant(name: str, given: Round) -> Callable[[], float]:
    """Built once, in the process that is its own."""
    torch.manual_seed(0)
    if name != "trainer":
        keep_freed_memory()
    return CONTESTANTS[name](given)


def play(name: str, given: Round) -> float:
    """Tokens per second of a turn."""
    return contestant(name, given)()


def tournament(given: Round, rounds: int) -> dict[str, list[float]]:
    """Tokens per second of each, in each round."""
    speeds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    with ExitStack() as stack:
        spawn = multiprocessing.get_context("spawn")
        pools = {name: stack.enter_context(ProcessPoolExecutor(1, spawn)) for name in CONTESTANTS}
        for round_ in range(rounds):
            for name in Random(round_).sample(list(CONTESTANTS), len(CONTESTANTS)):
                speeds[name].append(pools[name].submit(play, name, given).result())
    return speeds


def flops_per_token(backbone: Backbone, size: Size) -> float:
    """Operations of an update for one token, as BERT does them: a head over the masked 15 % of tokens."""
    sizes = EncoderConfig(VOCABULARY, size.width, size.heads, max_positions=LENGTH)
    head = 0.15 * 2 * size.width * (VOCABULARY + size.width)
    # The last layer's feed-forward block and the projection before it are for the masked tokens only.
    spared = 0.85 * 2 * (2 * 4 + 1) * size.width**2
    return 3 * (cost.flops(backbone, sizes, LENGTH) / LENGTH + head - spared)


def peak(precision: Precision) -> float:
    """Operations a second of the best of several matrix products."""
    best, dtype = 0.0, torch.bfloat16 if precision == "bf16" else torch.float32
    for rows, inner, columns in ((4096, 512, 2048), (2048, 2048, 2048), (4096, 1024, 1024)):
        a, b = torch.randn(rows, inner, dtype=dtype), torch.randn(inner, columns, dtype=dtype)
        for _ in range(8):
            start = time.perf_counter()
            a @ b
            best = max(best, 2 * rows * inner * columns / (time.perf_counter() - start))
    return best


def ratio(speeds: dict[str, list[float]], one: str, other: str) -> tuple[float, float, float]:
    """How many times as fast one is as the other: median over the rounds, least, most."""
    ratios = [a / b for a, b in zip(speeds[one], speeds[other], strict=True)]
    return round(median(ratios), 3), round(min(ratios), 3), round(max(ratios), 3)


def main() -> None:
    """Plays all sizes and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 rounds instead of 5")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    arguments = parser.parse_args()
    quick = arguments.quick
    rounds = 2 if quick else 5
    precision: Precision = resolve_precision(arguments.precision, torch.device("cpu"))
    result: dict[str, Any] = {
        "benchmark": "pretrain_speed",
        "quick": quick,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "precision": precision,
    }
    best = peak(precision)
    with tempfile.TemporaryDirectory() as folder:
        rows = sequences(Path(folder), 1024)
        for size in SIZES:
            for dropout in (0.0, 0.1):
                speeds = tournament(Round(size, rows, precision, dropout), rounds)
                shown = {name: round(median(values)) for name, values in speeds.items()}
                print(f"{size.name}, dropout {dropout}: {shown} tokens/s", file=sys.stderr, flush=True)
                key = "" if dropout == 0 else "_dropout"
                bert, low, high = ratio(speeds, "bert", "trainer")
                result[f"{size.name}_vs_trainer{key}"] = bert
                result[f"{size.name}_vs_trainer{key}_range"] = [low, high]
                result[f"{size.name}_vs_trainer_kept{key}"] = ratio(speeds, "bert", "trainer_kept")[0]
                result[f"{size.name}_zero_vs_trainer{key}"] = ratio(speeds, "zero", "trainer")[0]
                result[f"{size.name}_tokens_per_second{key}"] = shown
                if dropout == 0:
                    result[f"{size.name}_peak_fraction"] = {
                        name: round(shown[name] * flops_per_token(backbone, size) / best, 3)
                        for name, backbone in (("bert", zoo.bert(LAYERS)), ("zero", published()))
                    }
    result["peak_gflops"] = round(best / 1e9)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
