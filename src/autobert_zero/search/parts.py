"""The parts of a search, for an estimate of what it takes."""

from autobert_zero.config import SearchConfig
from autobert_zero.estimate import Part
from autobert_zero.zoo import bert, opponents


def search_parts(config: SearchConfig) -> list[Part]:
    """The parts of a search. BERT's backbone stands for candidates: most cost less."""
    proxy, final, length = config.proxy, config.final, config.data.length
    stand_in = bert(config.model.layers)

    def part(name: str, steps: int, batch: int, tokens: int = length) -> Part:
        return Part(name, stand_in, tokens, batch, steps * batch)

    parts = []
    if proxy.warmup_steps:
        parts.append(part("warm-up of the shared weights", proxy.warmup_steps, proxy.batch_size))
    parts.append(part(f"{proxy.candidates} candidates", proxy.candidates * proxy.steps, proxy.batch_size))
    if proxy.score == "tasks":
        tasks = proxy.tasks
        # The candidate, and the parents that are scored again before it.
        scored = proxy.candidates * (1 + 2 * config.strategy.parents)
        parts.append(part("their tasks, at most", scored * len(tasks.names) * tasks.steps, tasks.batch_size))
    parts.append(
        part(f"{final.finalists} finalists", final.finalists * final.screening_steps, final.batch_size)
    )
    models = 1 + len(opponents(config.bounds))
    parts.append(part(f"{models} models compared", models * final.steps, final.batch_size))
    return parts
