"""The stages of a search, for an estimate of its cost."""

import math
from itertools import pairwise

from autobert_zero.errors import counted
from autobert_zero.estimate import TrainingStage
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.finalists import GIVEN_FINALISTS
from autobert_zero.search.rungs import rung_steps
from autobert_zero.search.training_config import ProxyConfig
from autobert_zero.space import Backbone
from autobert_zero.zoo import bert, opponents

_TOKENS = 12
"""Mean number of tokens in a sentence of BLiMP."""
_SENTENCES = 256
"""Number of masked sentences in a batch."""
_STUDENTS = 7
"""Maximum number of models in the comparison of a search from a model."""


def search_stages(config: SearchConfig, seeds: int = 0) -> list[TrainingStage]:
    """The stages of a search, with BERT's backbone as the candidates: most cost less.

    Args:
        config: Config of the search.
        seeds: Number of backbones that the user gives it.
    """
    if config.distil is not None:
        return _student_stages(config, seeds)
    proxy, final, length = config.proxy, config.final, config.data.length
    stand_in = bert(config.model.layers)

    def stage(name: str, steps: int, batch: int, tokens: int = length) -> TrainingStage:
        return TrainingStage(name, stand_in, tokens, batch, steps * batch, compile=config.compile)

    stages = []
    if proxy.warmup_steps and proxy.sharing == "biws":
        stages.append(stage("warm-up of the shared weights", proxy.warmup_steps, proxy.batch_size))
    # No rung stops the backbones that a search begins with.
    given = min(len(config.bounds.known) + seeds, proxy.candidates)
    steps = round((proxy.candidates - given) * _expected_steps(proxy)) + given * proxy.steps
    stages.append(stage(counted(proxy.candidates, "candidate"), steps, proxy.batch_size))
    if proxy.sharing == "biws":
        more = {name: steps for name, steps in _fairness(config).items() if steps}
        stages += [stage(f"{name}, at most", steps, proxy.batch_size) for name, steps in more.items()]
    # Each candidate, and the parents that are scored again before it.
    scored = proxy.candidates * (1 + 2 * config.strategy.parents)
    if proxy.score == "minimal_pairs":
        tokens = min(_TOKENS, length)
        # Every token of both sentences is masked once, and a forward pass is a third of an update.
        sequences = scored * proxy.minimal_pairs.pairs * 2 * tokens // 3
        stages.append(TrainingStage("their minimal pairs, at most", stand_in, tokens, _SENTENCES, sequences))
    if proxy.score == "tasks":
        tasks = proxy.tasks
        steps = scored * len(tasks.names) * tasks.steps
        stages.append(stage("their tasks, at most", steps, tasks.batch_size))
    finalists = final.finalists + min(given, GIVEN_FINALISTS)
    steps = finalists * final.screening_steps
    stages.append(stage(f"{counted(finalists, 'finalist')}, at most", steps, final.batch_size))
    models = 1 + len(opponents(config.bounds))
    if len(final.rates) > 1:
        steps = models * len(final.rates) * final.screening_steps
        stages.append(stage(f"{len(final.rates)} rates of {models} models, at most", steps, final.batch_size))
    stages.append(stage(f"{models} models compared", models * final.steps, final.batch_size))
    if final.equal_time:
        stages.append(stage("the opponents at equal time", (models - 1) * final.steps, final.batch_size))
    stages.append(stage("the strongest at equal weights", final.steps, final.batch_size))
    return stages


def _student_stages(config: SearchConfig, seeds: int) -> list[TrainingStage]:
    """The stages of a search from a model, without the computations of the model itself."""
    proxy, final, depth = config.proxy, config.final, config.model.layers
    student = bert(math.ceil(depth / max(config.limits.min_speedup or 1.0, 1.0)))

    def stage(name: str, backbone: Backbone, steps: int, batch: int) -> TrainingStage:
        return TrainingStage(name, backbone, config.data.length, batch, steps * batch, with_head=False)

    stages = []
    if proxy.warmup_steps:
        stages.append(stage("copying layers", bert(depth), proxy.warmup_steps, proxy.batch_size))
    shallowest = len(student.layers)
    if config.space.narrow and shallowest < depth:
        widths = depth - shallowest + 1
        steps = widths * final.screening_steps
        name = f"{widths} widths of feed-forward blocks, at most"
        stages.insert(0, stage(name, student, steps, proxy.batch_size))
    steps = round(proxy.candidates * _expected_steps(proxy))
    stages.append(stage(counted(proxy.candidates, "candidate"), student, steps, proxy.batch_size))
    # Which students are known depends on the limits.
    given = GIVEN_FINALISTS if config.strategy.known else min(seeds, GIVEN_FINALISTS)
    finalists = final.finalists + given
    steps = finalists * final.screening_steps
    stages.append(stage(f"{counted(finalists, 'finalist')}, at most", student, steps, final.batch_size))
    if len(final.rates) > 1:
        steps = _STUDENTS * len(final.rates) * final.screening_steps
        stages.append(
            stage(f"{len(final.rates)} rates of {_STUDENTS} models", student, steps, final.batch_size)
        )
    stages.append(
        stage(f"{_STUDENTS} models compared, at most", student, _STUDENTS * final.steps, final.batch_size)
    )
    return stages


def _fairness(config: SearchConfig) -> dict[str, int]:
    """Maximum numbers of additional steps that keep shared weights fair."""
    proxy, strategy = config.proxy, config.strategy
    starts = range(strategy.population, proxy.candidates, strategy.parents * strategy.children)
    rounds = sum(start >= proxy.train_again > 0 for start in starts)
    trained = 2 * strategy.parents + len(config.bounds.known)
    return {
        "calibration of candidates": round(proxy.candidates * proxy.calibration * proxy.steps),
        "parents and known backbones again": rounds * trained * proxy.steps,
    }


def _expected_steps(proxy: ProxyConfig) -> float:
    """Mean number of steps of a candidate, if exactly the given share continues at each rung."""
    ends = [*rung_steps(proxy), proxy.steps]
    return sum(
        (end - start) * proxy.rung_share**index for index, (start, end) in enumerate(pairwise([0, *ends]))
    )
