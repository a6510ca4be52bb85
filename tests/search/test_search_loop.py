"""The search's loop with parts that follow a script: replayed trials, and the scores of twins."""

import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from autobert_zero.errors import UserError
from autobert_zero.search import loop
from autobert_zero.search.config import StrategyConfig
from autobert_zero.search.evaluator import IndependentEvaluator
from autobert_zero.search.history import History
from autobert_zero.search.loop import MemoryHistory, Search
from autobert_zero.search.ranking import ranked
from autobert_zero.search.strategies import make_strategy
from autobert_zero.search.strategies.prefilter import Prefilter
from autobert_zero.search.toy import ToyEvaluator
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.search_runs.twins import function_of
from autobert_zero.space import Backbone, CanonicalBackbone, Space

ONE = Backbone.parse("softsign(-Q) + V\nconv 3").canonical()
TWIN = Backbone.parse("-softsign(Q) + V\nconv 3").canonical()  # computes the same
OTHER = Backbone.parse("conv 5\nconv 3").canonical()
THIRD = Backbone.parse("conv 7\nconv 3").canonical()
SCORES = {ONE: 1.0, TWIN: -99.0, OTHER: 2.0, THIRD: 3.0}


class Scripted:
    """A strategy that proposes what it was given, one trial a round.

    Args:
        backbones: In order.
        stale: Number of a trial to that of the proposal before which it is scored again.
    """

    def __init__(self, backbones: Sequence[CanonicalBackbone], stale: Mapping[int, int]) -> None:
        self._backbones, self._stale, self._told = backbones, stale, list[Trial]()

    prefilter: Prefilter | None = None

    def contenders(self) -> list[Trial]:
        return [trial for trial in self._told if self._stale.get(trial.proposal.number) == len(self._told)]

    def rescore(self, scores: Mapping[int, float]) -> None:
        pass

    def independent(self) -> int:
        return 1

    def ask(self) -> Proposal:
        return Proposal(len(self._told), self._backbones[len(self._told)], len(self._told))

    def tell(self, trial: Trial) -> None:
        self._told.append(trial)


class Scores(IndependentEvaluator):
    """Scores by a table, raised by 10 where they are fresh.

    Args:
        absorbed: Trials that it knows of those that are recorded.
    """

    def __init__(self, absorbed: int) -> None:
        super().__init__(self._outcome)
        self.absorbed = absorbed
        self.trained: list[int] = []

    def restore(self, trials: Sequence[Trial]) -> int:
        return self.absorbed

    def rescore(self, contenders: Sequence[Trial], trials: Sequence[Trial]) -> dict[int, float]:
        return {trial.proposal.number: SCORES[trial.proposal.backbone] + 10 for trial in contenders}

    def _outcome(self, proposal: Proposal) -> Outcome:
        self.trained.append(proposal.number)
        return Outcome(Status.COMPLETE, SCORES[proposal.backbone])


def searched(
    folder: Path,
    backbones: Sequence[CanonicalBackbone],
    stale: Mapping[int, int] | None = None,
    recorded: Sequence[Trial] = (),
    absorbed: int = 0,
) -> tuple[list[Trial], Scores]:
    """Runs a search over the backbones, from recorded trials on."""
    history = History(folder / "study.db")
    for trial in recorded:
        history.append(trial)
    evaluator = Scores(absorbed)
    search = Search(Scripted(backbones, stale or {}), evaluator, history, function=function_of)
    trials = search.run(len(backbones))
    assert history.load() == trials
    return trials, evaluator


def trial(number: int, backbone: CanonicalBackbone, score: float) -> Trial:
    return Trial(Proposal(number, backbone, number), Outcome(Status.COMPLETE, score))


def test_replayed_trials_keep_what_is_recorded_of_them(tmp_path: Path) -> None:
    """The snapshot of before both is trained on again, but no second result of them is recorded."""
    recorded = [trial(0, ONE, 0.25), trial(1, OTHER, 0.5)]
    trials, evaluator = searched(tmp_path, [ONE, OTHER, THIRD], recorded=recorded)
    assert trials == [*recorded, trial(2, THIRD, 3.0)]
    assert evaluator.trained == [0, 1, 2]


def test_a_replayed_trial_with_another_backbone_is_refused(tmp_path: Path) -> None:
    recorded = [trial(0, ONE, 0.25), trial(1, OTHER, 0.5)]
    with pytest.raises(UserError, match="trial 1 is recorded with another backbone than this version"):
        searched(tmp_path, [ONE, THIRD, OTHER], recorded=recorded, absorbed=1)
    assert History(tmp_path / "study.db").load() == recorded


@pytest.mark.parametrize(
    ("backbones", "stale", "score"),
    [
        ([ONE, OTHER, TWIN], {}, 1.0),
        ([ONE, OTHER, TWIN], {0: 2}, 11.0),  # scored again just before the twin
        ([ONE, OTHER, THIRD, TWIN], {0: 2}, 11.0),  # in an earlier round
        ([ONE, OTHER, THIRD, TWIN], {1: 2}, 1.0),  # another one was
    ],
)
def test_a_twin_of_an_earlier_round_gets_the_newest_score(
    tmp_path: Path, backbones: list[CanonicalBackbone], stale: dict[int, int], score: float
) -> None:
    *before, twin = searched(tmp_path, backbones, stale)[0]
    assert [each.outcome.score for each in before] == [SCORES[backbone] for backbone in backbones[:-1]]
    assert (twin.outcome.score, twin.outcome.same_as) == (score, 0)
    assert twin.outcome.reason == "computes the same as trial 0"


def test_a_search_goes_on_from_its_own_budget() -> None:
    target = Backbone.parse("conv 7\nconv 3")
    space = Space(layers=2, max_ops=4)
    one, other = (
        Search(make_strategy(space, 0, StrategyConfig()), ToyEvaluator(target), MemoryHistory())
        for _ in range(2)
    )
    one.run(10)
    assert one.run(30) == other.run(30)
    assert ranked(one.trials)[0].outcome.score == max(t.outcome.score or 0.0 for t in one.trials)


def test_the_search_needs_no_torch() -> None:
    """The example of the loop's docstring runs where PyTorch and NumPy cannot be imported."""
    example = textwrap.dedent(str(loop.__doc__).partition("\n\n")[2])
    program = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['numpy'] = None  # importing them is an ImportError\n"
        "from autobert_zero.search.config import StrategyConfig\n"
        "from autobert_zero.search import halving, limits, rungs\n"
        "from autobert_zero.search.loop import MemoryHistory, Search\n"
        "from autobert_zero.search.ranking import ranked\n"
        "from autobert_zero.search.strategies import make_strategy\n"
        "from autobert_zero.search.toy import ToyEvaluator\n"
        "from autobert_zero.space import Space\n"
        "from autobert_zero.zoo import hybrid\n"
        "space, target = Space(4), hybrid(4).canonical()\n"
        f"{example}\n"
        "print(best.outcome.score)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0.5
