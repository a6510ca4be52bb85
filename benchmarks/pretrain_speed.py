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
WARMUP_STEPS = 2
"""Steps before the clock starts."""


@dataclass(frozen=True)
class Size:
    """Sizes of the models, their batch size and the number of timed steps."""

    name: str
    width: int
    heads: int
    batch: int
    steps: int


@dataclass(frozen=True)
class Setup:
    """What all contestants train with.

    Attributes:
        size: Sizes of the model.
        rows: File of the sequences.
        precision: Number format.
        dropout: Dropout probability.
    """

    size: Size
    rows: Path
    precision: Precision
    dropout: float


SIZES = (Size("tiny", 128, 4, 32, 12), Size("small", 512, 8, 16, 6))


def tokenizer() -> PreTrainedTokenizerFast:
    """Makes a tokenizer with `VOCABULARY` tokens; no text is tokenised."""
    from tokenizers import Tokenizer, models

    names = [*SPECIAL_TOKENS, *(f"word{number}" for number in range(VOCABULARY - len(SPECIAL_TOKENS)))]
    vocabulary = {name: number for number, name in enumerate(names)}
    built = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    built.add_special_tokens(list(SPECIAL_TOKENS))
    return wrap_tokenizer(built, LENGTH)


def sequences(folder: Path, count: int) -> Path:
    """Writes random sequences `[CLS] ... [SEP]` to a file, and returns its path."""
    rows = np.random.default_rng(0).integers(5, VOCABULARY, (count, LENGTH)).astype(np.uint16)
    rows[:, 0], rows[:, -1] = 2, 3
    np.save(folder / "rows.npy", rows)
    return folder / "rows.npy"


class Stopwatch(TrainerCallback):
    """Times the steps of a Trainer after its first `WARMUP_STEPS`."""

    seconds = 0.0
    _start = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.global_step == WARMUP_STEPS:
            self._start = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.seconds = time.perf_counter() - self._start


def trainer_run(setup: Setup) -> Callable[[], float]:
    """Makes a function that trains with the Trainer and returns tokens per second."""
    size = setup.size
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=size.width,
            num_hidden_layers=LAYERS,
            num_attention_heads=size.heads,
            intermediate_size=4 * size.width,
            max_position_embeddings=LENGTH,
            hidden_dropout_prob=setup.dropout,
            attention_probs_dropout_prob=setup.dropout,
        )
    )
    data = [{"input_ids": row.tolist()} for row in np.load(setup.rows)]
    collator = DataCollatorForLanguageModeling(tokenizer(), mlm_probability=0.15)

    def run() -> float:
        watch = Stopwatch()
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                max_steps=size.steps + WARMUP_STEPS,
                per_device_train_batch_size=size.batch,
                learning_rate=1e-4,
                bf16=setup.precision == "bf16",
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


def own_run(backbone: Backbone, setup: Setup) -> Callable[[], float]:
    """Makes a function that trains with our loop and returns tokens per second."""
    size, precision = setup.size, setup.precision
    sizes = EncoderConfig(VOCABULARY, size.width, size.heads, max_positions=LENGTH, dropout=setup.dropout)
    model = MaskedLM(backbone, sizes)
    split = Split(setup.rows, np.arange(len(np.load(setup.rows))))
    vocabulary = Vocabulary(VOCABULARY, 4, 3, (0, 2, 3))
    recipe = Recipe(size.steps + WARMUP_STEPS, size.batch, 1e-4, precision=precision)

    def run() -> float:
        batches = TrainingBatches(split, vocabulary, size.batch, (0,)).batches_from(0)
        objective, optimizer = language_objective(precision), make_optimizer(model, recipe)
        train(model, batches, recipe, objective, optimizer=optimizer, steps=range(WARMUP_STEPS))
        timed = range(WARMUP_STEPS, WARMUP_STEPS + size.steps)
        seconds = train(model, batches, recipe, objective, optimizer=optimizer, steps=timed, seed=0)
        return size.batch * LENGTH * size.steps / seconds

    return run


def published() -> Backbone:
    """The first and the last two layers of the published backbone."""
    layers = zoo.autobert_zero_base().layers
    return Backbone((*layers[:2], *layers[-2:]))


CONTESTANTS: dict[str, Callable[[Setup], Callable[[], float]]] = {
    "bert": lambda setup: own_run(zoo.bert(LAYERS), setup),
    "zero": lambda setup: own_run(published(), setup),
    "trainer": trainer_run,
    "trainer_kept": trainer_run,
}


@lru_cache(maxsize=1)
def build_contestant(name: str, setup: Setup) -> Callable[[], float]:
    """Builds a contestant, once in each process."""
    torch.manual_seed(0)
    if name != "trainer":
        keep_freed_memory()
    return CONTESTANTS[name](setup)


def run_once(name: str, setup: Setup) -> float:
    """Tokens per second of a contestant in one round."""
    return build_contestant(name, setup)()


def measure_in_rounds(setup: Setup, rounds: int) -> dict[str, list[float]]:
    """Tokens per second of each contestant in each round, in random order, each in its own process."""
    speeds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    with ExitStack() as stack:
        spawn = multiprocessing.get_context("spawn")
        pools = {name: stack.enter_context(ProcessPoolExecutor(1, spawn)) for name in CONTESTANTS}
        for round_ in range(rounds):
            for name in Random(round_).sample(list(CONTESTANTS), len(CONTESTANTS)):
                speeds[name].append(pools[name].submit(run_once, name, setup).result())
    return speeds


def flops_per_token(backbone: Backbone, size: Size) -> float:
    """FLOPs of an update per token, as BERT's: with a head over the masked 15 % of tokens."""
    sizes = EncoderConfig(VOCABULARY, size.width, size.heads, max_positions=LENGTH)
    head = 0.15 * 2 * size.width * (VOCABULARY + size.width)
    # The last layer computes its feed-forward block and the projection before it for masked tokens only.
    spared = 0.85 * 2 * (2 * 4 + 1) * size.width**2
    return 3 * (cost.flops(backbone, sizes, LENGTH) / LENGTH + head - spared)


def peak_flops(precision: Precision) -> float:
    """FLOP/s of the fastest of several matrix products."""
    best, dtype = 0.0, torch.bfloat16 if precision == "bf16" else torch.float32
    for rows, inner, columns in ((4096, 512, 2048), (2048, 2048, 2048), (4096, 1024, 1024)):
        a, b = torch.randn(rows, inner, dtype=dtype), torch.randn(inner, columns, dtype=dtype)
        for _ in range(8):
            start = time.perf_counter()
            a @ b
            best = max(best, 2 * rows * inner * columns / (time.perf_counter() - start))
    return best


def ratio(speeds: dict[str, list[float]], one: str, other: str) -> tuple[float, float, float]:
    """Speed of one contestant relative to another: median, minimum and maximum over the rounds."""
    ratios = [a / b for a, b in zip(speeds[one], speeds[other], strict=True)]
    return round(median(ratios), 3), round(min(ratios), 3), round(max(ratios), 3)


def main() -> None:
    """Measures all sizes and prints the figures."""
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
    best = peak_flops(precision)
    with tempfile.TemporaryDirectory() as folder:
        rows = sequences(Path(folder), 1024)
        for size in SIZES:
            for dropout in (0.0, 0.1):
                speeds = measure_in_rounds(Setup(size, rows, precision, dropout), rounds)
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
