"""Every strategy of the table keeps the contract that `autobert_zero.testing` has for all."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from types import FrameType

import pytest

from autobert_zero.errors import UserError
from autobert_zero.search.config import StrategyConfig
from autobert_zero.search.loop import MemoryHistory, Search
from autobert_zero.search.strategies import STRATEGIES, Strategy, make_strategy
from autobert_zero.search.strategies.base import Refusal, refuse_none
from autobert_zero.space import Backbone, Space
from autobert_zero.testing import SPACE, TOY, StrategyContract

# Optuna takes some milliseconds for every choice in a proposal.
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name == "tpe")) for name in STRATEGIES]


class TestStrategies(StrategyContract):
    """Of each name."""

    @pytest.fixture(autouse=True, params=NAMES)
    def _named(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param

    def make(
        self, space: Space, seed: int = 0, first: Sequence[Backbone] = (), refusal: Refusal = refuse_none
    ) -> Strategy:
        config = StrategyConfig(name=self.name, population=6, parents=2, children=2)
        return make_strategy(space, seed, config, first, refusal)

    def test_a_backbone_of_another_depth_is_refused(self) -> None:
        with pytest.raises(UserError, match="2 layers, the search has 3"):
            self.make(SPACE, first=[Backbone.parse("conv 3\nconv 3")])

    @pytest.mark.slow
    def test_long_searches_stay_cheap(self) -> None:
        """The work of a proposal hardly grows with the number of trials."""
        length = 600 if self.name == "tpe" else 2000  # it has forgotten some by then, and takes a minute
        search = Search(self.make(SPACE), TOY, MemoryHistory())
        search.run(100)
        with counted_calls() as early:
            search.run(200)
        search.run(length - 100)
        with counted_calls() as late:
            search.run(length)
        assert len({trial.proposal.backbone.key() for trial in search.trials}) == length
        assert late[0] < 2 * early[0]


@contextmanager
def counted_calls() -> Iterator[list[int]]:
    """Counts the calls of functions, the builtin ones too, within the block."""
    calls = [0]

    def count(frame: FrameType, event: str, argument: object) -> None:
        calls[0] += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(before)


class Forgetful(StrategyContract):
    """Of a strategy that is no function of seed and history, which the contract has to find out."""

    def __init__(self) -> None:
        self._seeds = count()

    def make(
        self, space: Space, seed: int = 0, first: Sequence[Backbone] = (), refusal: Refusal = refuse_none
    ) -> Strategy:
        return make_strategy(space, next(self._seeds), StrategyConfig(name="random"), first, refusal)


@pytest.mark.parametrize(
    "test", [Forgetful.test_a_function_of_the_seed, Forgetful.test_replay_goes_on_as_if_never_interrupted]
)
def test_the_contract_finds_a_strategy_that_breaks_it(test: Callable[[Forgetful], None]) -> None:
    with pytest.raises(AssertionError):
        test(Forgetful())
