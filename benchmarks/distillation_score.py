"""Does the score of a search from a model rank students as a longer distillation does, and what does it cost?

    python benchmarks/distillation_score.py [--teacher MODEL] [--corpus FILE] [--layers 2] [--candidates 16]
        [--steps 300] [--batch-size 16] [--length 64] [--quick]

Candidates are students of one depth: those that a search begins with, and equal numbers of mutations of them
and of random ones. Each is scored as in `autobert-zero search --start MODEL`: from shared weights that began
as the teacher's, after 40 steps, by the distillation loss on validation text. The truth is the loss on
held-out text after `--steps` steps of a separate distillation from the same weights, with a decaying rate,
another seed and other batches. The default teacher is all-MiniLM-L6-v2, as in `from_minilm.py`.

Prints one JSON object as its last line: `kendall_tau` between scores and truths, with a 95 % bootstrap
interval; `candidates_per_minute`, without `copying_seconds`, which a search spends once; and
`candidates_per_minute_scratch`, for students of the same sizes that are trained from new weights on masked
tokens for the 220 steps of the demo. `--quick` makes a tiny teacher with random weights: it shows that every
part runs, not how scores rank.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import torch
from minilm import find_teacher, tiny_teacher

from autobert_zero.data.batches import TrainingBatches, evaluation_batches
from autobert_zero.data.masking import Masking
from autobert_zero.nn import MaskedLM
from autobert_zero.search.presets import PRESETS
from autobert_zero.search.strategies.rounds import mutate_backbone
from autobert_zero.search.trial import Proposal
from autobert_zero.search_runs.prepare import PreparedSearch, prepare
from autobert_zero.search_runs.proxy_evaluator import ProxyEvaluator
from autobert_zero.search_runs.rank_correlation import correlation
from autobert_zero.search_runs.start_model import model_settings
from autobert_zero.settings import resolve
from autobert_zero.space import Backbone, CanonicalBackbone, Space, sample_backbone
from autobert_zero.space.mutate import draw_uniformly
from autobert_zero.training.loop import Recipe, train

_SCRATCH = 220
"""Steps of a candidate from new weights, in the demo."""

_TIMED = 3
"""Candidates from new weights that are timed."""


def main() -> None:
    """Scores the candidates, distils them for longer, and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", help="a folder or a name on the Hub")
    parser.add_argument("--corpus", default="kjv", help="as search takes it")
    parser.add_argument("--layers", type=int, default=2, help="depth of all candidates")
    parser.add_argument("--candidates", type=int, default=16, help="how many")
    parser.add_argument("--steps", type=int, default=300, help="of the longer distillation")
    parser.add_argument("--batch-size", type=int, default=16, help="sequences in a batch")
    parser.add_argument("--length", type=int, default=64, help="tokens in a sequence")
    parser.add_argument("--quick", action="store_true", help="a tiny teacher, few steps")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        tiny = options.quick and options.teacher is None
        teacher = tiny_teacher(Path(folder)) if tiny else find_teacher(options.teacher)
        print(json.dumps(measure(teacher, options)))


def measure(teacher: str, options: argparse.Namespace) -> dict[str, Any]:
    """Scores and distils all candidates, and returns the figures."""
    prepared = prepared_search(teacher, options)
    evaluator = prepared.evaluator()
    start = time.perf_counter()
    evaluator.warm_up(prepared.space, lambda done, total, loss: None)
    copying = time.perf_counter() - start
    candidates = sample_candidates(prepared.within(prepared.limits()), options.candidates)
    steps = options.steps // 10 if options.quick else options.steps
    scores, seconds, losses = [], [], []
    for number, backbone in enumerate(candidates):
        outcome, _ = evaluator.evaluate(Proposal(number, backbone, 0))
        scores.append(outcome.score if outcome.score is not None else float("-inf"))
        seconds.append(outcome.seconds)
        losses.append(distilled_loss(prepared, evaluator, backbone, steps))
        say(f"{number}: score {scores[-1]:.4f}, loss after {steps} steps {losses[-1]:.4f}; {backbone!s}")
    scratch = fmean(
        scratch_seconds(prepared, backbone) for backbone in candidates[: 1 if options.quick else _TIMED]
    )
    agreement = correlation(scores, [-loss for loss in losses])
    return {
        "benchmark": "distillation_score",
        "quick": options.quick,
        "candidates": len(candidates),
        "layers": options.layers,
        "steps": steps,
        "kendall_tau": agreement and round(agreement.tau, 3),
        "kendall_tau_interval": agreement and [round(agreement.low, 3), round(agreement.high, 3)],
        "copying_seconds": round(copying, 1),
        "candidates_per_minute": round(60 / fmean(seconds), 2),
        "candidates_per_minute_scratch": round(60 / scratch, 2),
        "scores": [round(score, 5) for score in scores],
        "losses": [round(loss, 5) for loss in losses],
        "backbones": [backbone.to_list() for backbone in candidates],
    }


def prepared_search(teacher: str, options: argparse.Namespace) -> PreparedSearch:
    """Prepares the search whose score is judged."""
    few = {"warmup_steps": 10, "steps": 5, "validation_sequences": 32} if options.quick else {}
    changes = {
        "data": {"corpus": options.corpus, "length": options.length},
        "model": {"layers": options.layers},
        "space": {"min_layers": 0},
        "proxy": {"batch_size": options.batch_size, **few},
    }
    return prepare(resolve(PRESETS["demo"](), model_settings(teacher), changes))


def sample_candidates(space: Space, count: int) -> list[CanonicalBackbone]:
    """Different backbones: the known ones, then alternately mutations of them and random ones."""
    random = Random(0)
    known = [backbone.canonical() for _, backbone in space.known]
    chosen = {backbone.key(): backbone for backbone in known}
    while len(chosen) < count:
        if len(chosen) % 2:
            drawn, _ = mutate_backbone(random.choice(known), space, lambda position: draw_uniformly, random)
        else:
            drawn = sample_backbone(random, space)
        chosen.setdefault(drawn.canonical().key(), drawn.canonical())
    return list(chosen.values())[:count]


def distilled_loss(
    prepared: PreparedSearch, evaluator: ProxyEvaluator, backbone: Backbone, steps: int
) -> float:
    """The loss on held-out text after a longer distillation from the shared weights."""
    config, masking = prepared.config, Masking(isolated=True)
    assert prepared.start is not None
    torch.manual_seed(1)
    model = MaskedLM(backbone, prepared.model).to(prepared.device)
    evaluator.bank.inherit(model)
    goal = prepared.start.teacher.goal(len(backbone.layers), config.precision, prepared.device)
    student, size = goal.wrap(model), config.proxy.batch_size
    batches = TrainingBatches(prepared.data.train, prepared.vocabulary, size, (1, 0), masking)
    recipe = Recipe(steps, size, config.final.learning_rate, precision=config.precision)
    train(student, batches.batches_from(0), recipe, goal.objective(), loss_limit=goal.loss_limit)
    held_out = evaluation_batches(
        prepared.data.holdout, prepared.vocabulary, 2 * size, config.proxy.validation_sequences, masking
    )
    return goal.evaluate(student, held_out, None)["loss"]


def scratch_seconds(prepared: PreparedSearch, backbone: Backbone) -> float:
    """Estimates the seconds to train a candidate from new weights and to score it by masked tokens.

    A tenth of its steps is timed.
    """
    part = _SCRATCH // 10
    proxy = prepared.config.proxy.model_copy(update={"steps": part, "rungs": ()})
    config = prepared.config.model_copy(update={"distil": None, "proxy": proxy})
    evaluator = replace(prepared, config=config, start=None).evaluator()
    outcome, _ = evaluator.evaluate(Proposal(0, backbone.canonical(), 0))
    return outcome.seconds * _SCRATCH / part


def say(text: str) -> None:
    """Prints a line of progress."""
    print(text.replace("\n", " | "), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
