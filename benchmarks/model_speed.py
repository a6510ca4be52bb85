"""Speed of our models against transformers' BERT, autobert 0.0.2, our interpreter, and the machine's peak.

    python benchmarks/model_speed.py [--quick] [--only rotary]

Base size (12 layers, width 768, 12 heads), no padding, dropout 0, all cores. The contestants of a case take
turns within a round, in random order; a ratio is the median over the rounds of the other's time over
ours, so above 1 ours is faster. `bert_vs_transformers` is the worst case; the `zero_*` keys are of forward
and backward in the precision in which the peer is faster; `compiled_vs_interpreter` is of the attention
graphs alone (the median over the published ones, both modes and precisions), `compiled_vs_interpreter_model`
of the whole model (the worse precision). The first use makes the environment of autobert 0.0.2, which
`--quick` leaves out, with its keys null.

At width 256 (6 layers, 4 heads, vocabulary 8,192), forward and backward of 16 x 128 tokens: `rotary_cost`
is our BERT's time with rotary attention over its time with plain attention, `rotary_vs_modernbert` the
time of ModernBERT of `transformers` (all layers global, sdpa) over that of our rotary attention in the
same trunk; each is the worse of the precisions that this processor multiplies as such. `--only rotary`
measures these two alone.
Prints one JSON object as its last line.
The file is long because one call runs all of its parts.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from random import Random
from statistics import linear_regression, median
from typing import Any

import torch
from autobert_peer import Peer, environment
from timing import Case, timed
from torch import nn
from transformers import BertConfig, BertModel, ModernBertConfig, ModernBertModel

from autobert_zero import cost, zoo
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.hf import AutoBertZeroConfig, AutoBertZeroModel, from_zoo
from autobert_zero.nn.attention import GraphAttention
from autobert_zero.nn.compiler import Compiled
from autobert_zero.nn.interpreter import Interpreter
from autobert_zero.nn.kernels import Context
from autobert_zero.space import Attention, Backbone
from autobert_zero.training.precision import resolve_precision
from autobert_zero.zoo.trunks import MODERN_TRUNK

VOCABULARY = 30522
MAX_TOKENS = 2048
BATCHES = {128: 8, 512: 2, 2048: 1}
PRECISIONS = ("fp32", "bf16")
MODES = ("forward", "training")

Contestants = Mapping[str, Callable[[Case], float]]


def zoo_model(name: str, dropout: float = 0.0) -> AutoBertZeroModel:
    """Makes a model of the zoo, without pooler."""
    config = from_zoo(name, max_position_embeddings=MAX_TOKENS, hidden_dropout_prob=dropout)
    return AutoBertZeroModel(config, add_pooling_layer=False)


def transformers_bert(hidden_dropout: float = 0.0, map_dropout: float = 0.0) -> BertModel:
    """Makes BERT-base of transformers, with fused attention."""
    config = BertConfig(
        hidden_dropout_prob=hidden_dropout,
        attention_probs_dropout_prob=map_dropout,
        max_position_embeddings=MAX_TOKENS,
        attn_implementation="sdpa",
    )
    return BertModel(config, add_pooling_layer=False)


def interpreted(model: AutoBertZeroModel) -> AutoBertZeroModel:
    """Makes a model run the plain interpreter."""
    for part in model.modules():
        if isinstance(part, GraphAttention):
            part.compute = Interpreter(part.graph)
    return model


def runner(model: nn.Module) -> Callable[[Case], float]:
    """Makes the function that times a model on a case."""
    return lambda case: timed(model, lambda ids: model(input_ids=ids)[0], case, VOCABULARY)


def measure_in_rounds(contestants: Contestants, case: Case, rounds: int) -> dict[str, list[float]]:
    """Seconds of each contestant in each round, in random order, after a warm-up round."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    random = Random(case.name)
    for round_ in range(rounds + 1):
        # The order matters by a few per cent.
        for name in random.sample(list(contestants), len(contestants)):
            seconds = contestants[name](case)
            if round_:
                times[name].append(seconds)
    shown = ", ".join(f"{name} {median(values) * 1e3:,.0f} ms" for name, values in times.items())
    print(f"{case.name}: {shown}", file=sys.stderr, flush=True)
    return times


def ratio(times: Mapping[str, list[float]], model: str, reference: str) -> float:
    """Speed of a model relative to a reference: the median over the rounds."""
    return round(median(b / a for a, b in zip(times[model], times[reference], strict=True)), 3)


def rotary_ratios(rounds: int) -> dict[str, Any]:
    """Relative cost of rotary positions at width 256, and ModernBERT's time over ours at the same sizes."""
    sizes = EncoderConfig(8192, 256, 4, max_positions=128)
    modern = replace(sizes, **MODERN_TRUNK)
    modernbert = ModernBertConfig(
        vocab_size=sizes.vocab_size,
        hidden_size=sizes.width,
        intermediate_size=modern.inner,
        num_hidden_layers=6,
        num_attention_heads=sizes.heads,
        max_position_embeddings=128,
        layer_types=["full_attention"] * 6,
        attn_implementation="sdpa",
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 0),
        **dict.fromkeys(("cls_token_id", "sep_token_id"), 0),
    )

    def model(backbone: Backbone, config: EncoderConfig) -> AutoBertZeroModel:
        return AutoBertZeroModel(
            AutoBertZeroConfig.from_encoder_config(backbone, config), add_pooling_layer=False
        )

    models = {
        "plain": model(zoo.bert(6), sizes),
        "rotary": model(zoo.rotary(6), sizes),
        "modern": model(zoo.rotary(6), modern),
        "ModernBERT": ModernBertModel(modernbert),
    }
    contestants = {
        name: lambda case, encoder=encoder: timed(
            encoder, lambda ids: encoder(input_ids=ids)[0], case, sizes.vocab_size
        )
        for name, encoder in models.items()
    }
    fast = resolve_precision("auto", torch.device("cpu"))
    precisions = [precision for precision in PRECISIONS if precision in ("fp32", fast)]
    times = {
        precision: measure_in_rounds(contestants, Case(16, 128, precision, "training"), rounds)
        for precision in precisions
    }
    costs = {name: round(1 / ratio(values, "rotary", "plain"), 3) for name, values in times.items()}
    against = {name: ratio(values, "modern", "ModernBERT") for name, values in times.items()}
    return {
        "rotary_cost": max(costs.values()),
        "rotary_vs_modernbert": min(against.values()),
        "rotary": {"cost": costs, "vs_modernbert": against},
    }


def peak_flops(precision: str) -> float:
    """FLOP/s of the fastest of several matrix products with BERT's shapes."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    best = 0.0
    for rows, inner, columns in (
        (1024, 768, 3072),
        (1024, 3072, 768),
        (2048, 2048, 2048),
        (4096, 4096, 4096),
    ):
        a, b = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
        for _ in range(8):
            start = time.perf_counter()
            nn.functional.linear(a, b)
            best = max(best, 2 * rows * inner * columns / (time.perf_counter() - start))
    return best


def flops(backbone: Backbone, case: Case) -> float:
    """FLOPs of a case; a backward pass has twice those of a forward pass."""
    sizes = EncoderConfig(VOCABULARY, 768, 12, max_positions=MAX_TOKENS)
    return cost.flops(backbone, sizes, case.tokens) * case.batch * (3 if case.mode == "training" else 1)


def graph_ratios(tokens: int, batch: int, rounds: int) -> dict[str, dict[str, float]]:
    """Speed of compiled relative to interpreted attention graphs, without projections.

    Returns:
        The ratio by layer, then by mode and precision.
    """
    layers = [layer for layer in zoo.autobert_zero_base().layers if isinstance(layer, Attention)]
    layers += [zoo.bert(1).layers[0], zoo.efficient_attention(1).layers[0]]  # type: ignore[list-item]
    result: dict[str, dict[str, float]] = {}
    for layer in dict.fromkeys(layers):
        programs: dict[str, Compiled | Interpreter] = {
            "compiled": Compiled(layer.graph),
            "interpreted": Interpreter(layer.graph),
        }
        for precision in PRECISIONS:
            for mode in MODES:
                times: dict[str, list[float]] = {name: [] for name in programs}
                for round_ in range(3 * rounds + 1):
                    for name, program in programs.items():
                        case = Case(batch, tokens, precision, mode)
                        seconds = graph_seconds(program, layer.graph.inputs, case)
                        if round_:
                            times[name].append(seconds)
                by_case = result.setdefault(str(layer), {})
                by_case[f"{mode} {precision}"] = ratio(times, "compiled", "interpreted")
    return result


def graph_seconds(program: Compiled | Interpreter, names: tuple[str, ...], case: Case) -> float:
    """Seconds of one run on random tensors with the strides of a projection's output, (B, H, n, d_h)."""
    dtype = torch.bfloat16 if case.precision == "bf16" else torch.float32
    training = case.mode == "training"
    inputs = {
        name: torch.randn(case.batch, case.tokens, 12, 64).to(dtype).transpose(1, 2).requires_grad_(training)
        for name in names
    }
    gradient = torch.randn(case.batch, 12, case.tokens, 64).to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=case.precision == "bf16"):
        start = time.perf_counter()
        output = program(inputs, Context(64, None))
    if training:
        output.backward(gradient)
    return time.perf_counter() - start


def growth(longest: int, rounds: int) -> tuple[float, dict[int, float]]:
    """Exponent with which the forward time of the linear-attention backbone grows with the length.

    Returns:
        The exponent, and the seconds by length.
    """
    lengths = [longest >> shift for shift in (3, 2, 1, 0)]
    config = from_zoo("linear-attention", max_position_embeddings=longest, hidden_dropout_prob=0.0)
    run = runner(AutoBertZeroModel(config, add_pooling_layer=False))
    seconds = {}
    for tokens in lengths:
        case = Case(1, tokens, "fp32", "forward")
        times = measure_in_rounds({"linear-attention": run}, case, rounds)
        seconds[tokens] = median(times["linear-attention"])
    slope, _ = linear_regression([math.log(n) for n in lengths], [math.log(seconds[n]) for n in lengths])
    return round(slope, 3), {n: round(value, 4) for n, value in seconds.items()}


def shares(run: Callable[[Case], float], case: Case) -> dict[str, float]:
    """The operations that take most of a pass, with their shares of its time."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiled:
        run(case)
    spent = {row.key: row.self_cpu_time_total for row in profiled.key_averages()}
    total = sum(spent.values())
    largest = sorted(spent, key=lambda key: spent[key], reverse=True)[:8]
    return {key: round(spent[key] / total, 3) for key in largest}


def main() -> None:
    """Measures all cases and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less work: up to 512 tokens, no autobert")
    parser.add_argument("--only", choices=["rotary"], help="measure a part alone")
    options = parser.parse_args()
    quick = options.quick
    rounds = 1 if quick else 5
    about = {"benchmark": "model_speed", "quick": quick, "torch": torch.__version__}
    if options.only == "rotary":
        rotary = rotary_ratios(5 if quick else 30)
        print(json.dumps({**about, "threads": torch.get_num_threads(), **rotary}))
        return
    lengths = (128, 512) if quick else (128, 512, 2048)
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    peaks = {precision: peak_flops(precision) for precision in PRECISIONS}
    models = {"bert": zoo_model("bert-base"), "zero": zoo_model("autobert-zero-base")}
    contestants: dict[str, Callable[[Case], float]] = {name: runner(model) for name, model in models.items()}
    contestants["transformers"] = runner(transformers_bert())
    contestants["interpreted"] = runner(interpreted(zoo_model("autobert-zero-base")))

    times: dict[Case, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        if not quick:
            peer = Peer(environment(torch.__version__.split("+")[0]), threads)
            contestants["autobert"] = stack.enter_context(peer).timed
        for tokens in lengths:
            batch = max(BATCHES[tokens] // (4 if quick else 1), 1)
            for precision in PRECISIONS:
                for mode in MODES:
                    case = Case(batch, tokens, precision, mode)
                    measured = dict(contestants)
                    if (tokens, mode) != (512, "training"):
                        del measured["interpreted"]
                    times[case] = measure_in_rounds(measured, case, rounds if tokens < 2048 else 3)

    pairs = {
        "bert_vs_transformers": ("bert", "transformers"),
        "zero_vs_bert": ("zero", "transformers"),
        "zero_vs_autobert": ("zero", "autobert"),
        "compiled_vs_interpreter_model": ("zero", "interpreted"),
    }
    cases = {
        key: {case.name: ratio(values, *pair) for case, values in times.items() if pair[1] in values}
        for key, pair in pairs.items()
    }

    def in_best_precision(key: str, tokens: int) -> float | None:
        """The ratio of training speeds in the precision in which the reference is faster."""
        reference = pairs[key][1]
        fitting = [
            case
            for case, values in times.items()
            if (case.tokens, case.mode) == (tokens, "training") and reference in values
        ]
        if not fitting:
            return None
        return cases[key][min(fitting, key=lambda case: median(times[case][reference])).name]

    graphs = graph_ratios(512, 1 if quick else 2, rounds)
    exponent, seconds = growth(2048 if quick else 8192, 1 if quick else 3)
    published = [
        graphs[str(layer)] for layer in dict.fromkeys(zoo.autobert_zero_base().layers) if str(layer) in graphs
    ]
    backbones = {"bert": zoo.bert(12), "transformers": zoo.bert(12), "zero": zoo.autobert_zero_base()}
    result: dict[str, Any] = {
        **about,
        "threads": threads,
        **rotary_ratios(5 if quick else 30),
        "bert_vs_transformers": min(cases["bert_vs_transformers"].values()),
        "zero_vs_bert_128": in_best_precision("zero_vs_bert", 128),
        "zero_vs_bert_512": in_best_precision("zero_vs_bert", 512),
        "zero_vs_autobert": in_best_precision("zero_vs_autobert", 512),
        "zero_vs_autobert_2048": in_best_precision("zero_vs_autobert", 2048),
        "compiled_vs_interpreter": median(value for by_case in published for value in by_case.values()),
        "compiled_vs_interpreter_model": min(cases["compiled_vs_interpreter_model"].values()),
        "linear_growth_exponent": exponent,
        "peak_fraction": {
            name: {
                case.name: round(flops(backbone, case) / median(values[name]) / peaks[case.precision], 3)
                for case, values in times.items()
            }
            for name, backbone in backbones.items()
        },
        "peak_gflops": {precision: round(value / 1e9) for precision, value in peaks.items()},
        "cases": cases,
        "graphs": graphs,
        "linear_attention_seconds": seconds,
        "milliseconds": {
            case.name: {name: round(median(seconds) * 1e3, 1) for name, seconds in values.items()}
            for case, values in times.items()
        },
    }
    result["profile"] = {
        f"{name}, {case.name}": shares(contestants[name], case)
        for case in times
        if case.tokens == 512
        for name in ("bert", "zero", "transformers")
    }
    # Dropout of 0.1 on both sides, on hidden states; and transformers' default, on its maps too.
    dropped = {
        "bert": runner(zoo_model("bert-base", 0.1)),
        "zero": runner(zoo_model("autobert-zero-base", 0.1)),
        "transformers": runner(transformers_bert(0.1)),
        "transformers, maps too": runner(transformers_bert(0.1, 0.1)),
    }
    result["dropout"] = {}
    for precision in PRECISIONS:
        case = Case(2 if quick else 8, 128, precision, "training")
        values = measure_in_rounds(dropped, case, rounds)
        result["dropout"][case.name] = {
            f"{name} vs {reference}": ratio(values, name, reference)
            for name in ("bert", "zero")
            for reference in ("transformers", "transformers, maps too")
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
