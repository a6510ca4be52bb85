"""Models of `transformers` that people built by hand against our opponents and a found backbone.

    python benchmarks/peers.py --corpus BOOKS --out OUT [--backbone FOUND] [--tokens 20e6] [--quick]

Masked language models of 6.9 to 7.2 M weights (6 layers of width 256, vocabulary 8,192): ModernBERT,
DeBERTa-v2 with a convolution of 3, ConvBERT and NomicBERT of `transformers`; rotary attention, its hybrids
with narrow and wide convolutions, gated convolutions, and the backbone in the file FOUND, in our modern
trunk. All see the same tokens and masks. Each tries three learning rates on a tenth of the tokens, and is
trained on all of them with its best.
Each result is kept in OUT as its training ends: the same call continues where it was stopped. Prints one
JSON object as its last line: `rows` has, for each model, its number of weights, rate, held-out loss, and
tokens per second (measured alone, at the end).
`--quick` takes 6 steps and one rate: it shows that all models are built, trained and measured, not their
order.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers
from result_store import ResultStore
from torch import Tensor, nn

from autobert_zero.cli.backbones import find_backbone
from autobert_zero.data.batches import evaluation_batches, training_batches
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import UserError
from autobert_zero.nn import MaskedLM
from autobert_zero.search.comparison import Model, with_parameters
from autobert_zero.search.config import SearchConfig
from autobert_zero.search_runs.prepare import PreparedSearch, prepare
from autobert_zero.settings import resolve
from autobert_zero.space import Backbone
from autobert_zero.training.language import evaluate, guess_limit, language_objective
from autobert_zero.training.loop import Diverged, Recipe, train
from autobert_zero.zoo import gated_convolution, rotary, rotary_hybrid, wide_hybrid
from autobert_zero.zoo.trunks import MODERN_TRUNK

LAYERS, WIDTH, HEADS, VOCABULARY, LENGTH, BATCH = 6, 256, 4, 8192, 128, 16
PARAMETERS = 7_000_000
RATES = (5e-4, 1e-3, 2e-3)


class Peer(nn.Module):
    """A masked language model of `transformers` with the interface of `MaskedLM`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, rows: Tensor, *rest: Tensor | None) -> Tensor:
        """Predicts the tokens at (m,) positions of (B, n) ids: logits (m, vocabulary)."""
        return self.model(input_ids=ids).logits.flatten(0, 1)[rows]


def peers(vocabulary: int, layers: int = LAYERS, width: int = WIDTH) -> dict[str, Callable[[], nn.Module]]:
    """Functions that make the models of `transformers` with new weights, by name."""
    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "max_position_embeddings": LENGTH,
        "pad_token_id": 0,
    }
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    special = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    return {
        "ModernBERT": lambda: transformers.ModernBertForMaskedLM(
            transformers.ModernBertConfig(**sizes, **special, intermediate_size=688 * width // WIDTH)
        ),
        "DeBERTa-v2": lambda: transformers.DebertaV2ForMaskedLM(
            transformers.DebertaV2Config(
                **sizes,
                **no_dropout,
                intermediate_size=4 * width,
                relative_attention=True,
                position_buckets=32,
                norm_rel_ebd="layer_norm",
                share_att_key=True,
                pos_att_type="p2c|c2p",
                conv_kernel_size=3,
                conv_act="gelu",
            )
        ),
        "ConvBERT": lambda: transformers.ConvBertForMaskedLM(
            transformers.ConvBertConfig(
                **sizes, **no_dropout, intermediate_size=4 * width, embedding_size=width
            )
        ),
        "NomicBERT": lambda: transformers.NomicBertForMaskedLM(
            transformers.NomicBertConfig(**sizes, **no_dropout, intermediate_size=680 * width // WIDTH)
        ),
    }


def build_peer(name: str, vocabulary: int, layers: int = LAYERS, width: int = WIDTH) -> Peer:
    """Makes a model of `transformers` with new weights."""
    return Peer(peers(vocabulary, layers, width)[name]())


def own_stacks(vocabulary: int, found: Backbone | None) -> dict[str, Callable[[], nn.Module]]:
    """Functions that make our stacks in the modern trunk, with about `PARAMETERS` parameters each."""
    sizes = EncoderConfig(vocabulary, WIDTH, HEADS, **MODERN_TRUNK)
    stacks = {
        "rotary": rotary(LAYERS),
        "hybrid": rotary_hybrid(LAYERS),
        "wide-hybrid": wide_hybrid(LAYERS),
        "gated-convolution": gated_convolution(LAYERS),
    }
    if found is not None:
        stacks["found"] = found

    def build(model: Model) -> Callable[[], nn.Module]:
        return lambda: MaskedLM(model.backbone, model.sizes)

    return {
        name: build(with_parameters(Model(backbone, sizes), PARAMETERS)) for name, backbone in stacks.items()
    }


def train_and_evaluate(
    build: Callable[[], nn.Module],
    steps: int,
    rate: float,
    seed: int,
    prepared: PreparedSearch,
    evaluated: int,
) -> dict[str, Any]:
    """Trains a new model; returns its losses on validation and held-out text, None if diverged."""
    torch.manual_seed(seed)
    model = build().to(prepared.device)
    batches = training_batches(prepared.data.train, prepared.vocabulary, BATCH, (seed, 0))
    objective, limit = language_objective("auto"), guess_limit(prepared.vocabulary.size)
    try:
        seconds = train(model, batches, Recipe(steps, BATCH, rate), objective, loss_limit=limit)
    except Diverged as error:
        return {"validation": None, "held_out": None, "reason": str(error)}

    def loss(split: Any) -> float:
        return evaluate(
            model, evaluation_batches(split, prepared.vocabulary, 2 * BATCH, evaluated), "auto"
        ).loss

    return {
        "validation": loss(prepared.data.validation),
        "held_out": loss(prepared.data.holdout),
        "seconds": round(seconds, 1),
    }


def speed(build: Callable[[], nn.Module], prepared: PreparedSearch, steps: int) -> float:
    """Measures the tokens per second of training, by the median step."""
    model = build().to(prepared.device)
    ends: list[float] = []

    def note(step: int, loss: float) -> None:
        if prepared.device.type != "cpu":
            torch.accelerator.synchronize(prepared.device)
        ends.append(time.perf_counter())

    batch, length = prepared.config.final.batch_size, prepared.config.data.length
    batches: Any = training_batches(prepared.data.train, prepared.vocabulary, batch, (0, 0))
    objective: Any = language_objective(prepared.config.precision)
    recipe = Recipe(steps, batch, 1e-6, precision=prepared.config.precision)
    train(model, batches, recipe, objective, note)
    seconds = [later - earlier for earlier, later in itertools.pairwise(ends)]
    return batch * length / median(seconds)


def main() -> None:
    """Trains and measures all models, and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", default="kjv", help="as search takes it")
    parser.add_argument("--out", type=Path, required=True, help="folder where results are kept")
    parser.add_argument("--backbone", type=Path, help="file with the found backbone, of 6 layers")
    parser.add_argument("--tokens", type=float, default=20e6, help="tokens of each training")
    parser.add_argument("--quick", action="store_true", help="6 steps, one rate")
    options = parser.parse_args()
    quick = options.quick
    rates = RATES[1:2] if quick else RATES
    steps = 6 if quick else round(options.tokens / (BATCH * LENGTH))
    evaluated = 64 if quick else 2048
    transformers.logging.set_verbosity_error()
    text = {"corpus": options.corpus, "vocab_size": VOCABULARY, "length": LENGTH}
    prepared = prepare(resolve(SearchConfig(), {"data": text}))
    vocabulary = prepared.vocabulary.size
    corpus = Path(options.corpus).name
    wrapped: dict[str, Callable[[], nn.Module]] = {
        name: partial(build_peer, name, vocabulary) for name in peers(vocabulary)
    }
    try:
        found = None if options.backbone is None else find_backbone(str(options.backbone))
        settings = {"benchmark": "peers", "corpus": corpus, "text": prepared.corpus.identity, "steps": steps}
        results = ResultStore(options.out, settings)
    except UserError as error:
        parser.error(str(error))
    contestants = {**wrapped, **own_stacks(vocabulary, found)}

    def train_once(name: str, build: Callable[[], nn.Module], count: int, rate: float, seed: int) -> Any:
        if name not in results:
            results[name] = train_and_evaluate(build, count, rate, seed, prepared, evaluated)
            print(f"{name}: {json.dumps(results[name])}", file=sys.stderr, flush=True)
        return results[name]

    rows: dict[str, Any] = {}
    for name, build in contestants.items():
        file_name = f"found-{found.key()}" if found is not None and name == "found" else name
        tries = {}
        if len(rates) > 1:
            tenth = max(steps // 10, 1)
            tries = {
                rate: train_once(f"{file_name}-rate{rate:g}", build, tenth, rate, 1)["validation"]
                for rate in rates
            }
        finite = {rate: loss for rate, loss in tries.items() if loss is not None}
        rate = min(finite, key=finite.__getitem__) if finite else min(rates)
        result = train_once(file_name, build, steps, rate, 0)
        weights = sum(weight.numel() for weight in build().parameters())
        rows[name] = {"parameters": weights, "rate": rate, "rates": tries, **result}
    for name, build in contestants.items():
        rows[name]["tokens_per_second"] = round(speed(build, prepared, 3 if quick else 12))
    figures = {
        "benchmark": "peers",
        "quick": quick,
        "corpus": corpus,
        "tokens": steps * BATCH * LENGTH,
        "rows": rows,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
