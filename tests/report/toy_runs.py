"""Runs of the toy evaluator: histories as a search leaves them, in milliseconds."""

import json
from collections.abc import Sequence
from html.parser import HTMLParser
from random import Random
from typing import Any

from autobert_zero.report.runs import Run
from autobert_zero.search.config import SearchConfig, SearchModelConfig, StrategyConfig
from autobert_zero.search.loop import MemoryHistory, Search
from autobert_zero.search.strategies import make_strategy
from autobert_zero.search.toy import ToyEvaluator
from autobert_zero.search.training_config import ProxyConfig
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import Space, sample_backbone

LAYERS = 3


def toy_config(candidates: int = 60, seed: int = 0, strategy: str = "op-nas") -> SearchConfig:
    return SearchConfig(
        seed=seed,
        model=SearchModelConfig(layers=LAYERS),
        strategy=StrategyConfig(name=strategy, population=10, parents=3),
        proxy=ProxyConfig(candidates=candidates),
    )


class Luck(ToyEvaluator):
    """A toy in which one in eight diverges, and parents score a little better each time.

    Args:
        seed: Of the accidents.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(sample_backbone(Random("target"), Space(LAYERS)).canonical())
        self._random = Random(seed)

    def outcome(self, proposal: Proposal) -> Outcome:
        if self._random.random() < 1 / 8:
            reason = f"loss is nan at step {proposal.number}"
            return Outcome(Status.DIVERGED, reason=reason, seconds=1.5)
        return super().outcome(proposal)

    def rescore(self, contenders: Sequence[Trial], trials: Sequence[Trial]) -> dict[int, float]:
        return {
            trial.proposal.number: (trial.outcome.score or 0) + len(trials) / 1000 for trial in contenders
        }


def toy_trials(config: SearchConfig) -> tuple[Trial, ...]:
    """A search with luck."""
    strategy = make_strategy(Space(LAYERS), config.seed, config.strategy)
    return tuple(Search(strategy, Luck(config.seed), MemoryHistory()).run(config.proxy.candidates))


def toy_run(candidates: int = 60, seed: int = 0, strategy: str = "op-nas", name: str = "toy") -> Run:
    config = toy_config(candidates, seed, strategy)
    return Run(name, config, trials=toy_trials(config))


class Page(HTMLParser):
    """What a browser would make of the page, and what is wrong with it.

    Attributes:
        data: The embedded JSON.
        text: All text outside of scripts and styles.
        addresses: Values of attributes that a browser would load.
        problems: Unclosed and misplaced tags, repeated ids.
    """

    VOID = frozenset({"meta", "link", "br", "img", "input"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.data: Any = None
        self.text = ""
        self.addresses: list[str] = []
        self.problems: list[str] = []
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self._ids: set[str] = set()
        self.feed(source)
        self.close()
        self.problems += [f"<{tag}> is not closed" for tag, _ in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.addresses += [value or "" for key, value in attrs if key in {"src", "href", "srcset", "data"}]
        if attributes.get("id") in self._ids:
            self.problems.append(f"id {attributes['id']} twice")
        self._ids |= {attributes["id"] or ""} if "id" in attributes else set()
        if tag not in self.VOID:
            self._open.append((tag, attributes))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1][0] != tag:
            self.problems.append(f"</{tag}> at {self.getpos()} closes {self._open[-1:]}")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        tag, attributes = self._open[-1] if self._open else ("", {})
        if attributes.get("id") == "data":
            self.data = json.loads(data)
        elif tag not in {"script", "style"}:
            self.text += data
