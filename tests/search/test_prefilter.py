"""The pre-filter: the best of several draws, with every promise of the strategies kept."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
import tiny

from autobert_zero.errors import UserError
from autobert_zero.proxies import PROXIES
from autobert_zero.run_folder.names import LEADERBOARD
from autobert_zero.search.config import StrategyConfig
from autobert_zero.search.history import History
from autobert_zero.search.loop import MemoryHistory, Search
from autobert_zero.search.strategies import STRATEGIES, Prefilter, SpaceExhausted, Strategy, make_strategy
from autobert_zero.search.toy import ToyEvaluator
from autobert_zero.search.trial import Trial
from autobert_zero.search_runs.prepare import prepare
from autobert_zero.search_runs.proxy_evaluator import ProxyEvaluator
from autobert_zero.space import Backbone, Space, sample_backbone

SPACE = Space(layers=3, max_ops=6)
TOY = ToyEvaluator(sample_backbone(Random("target"), SPACE).canonical())
EACH = pytest.mark.parametrize("name", STRATEGIES)


def length(backbone: Backbone) -> float:
    """A rank that is easy to check."""
    return float(len(str(backbone)))


def made(
    name: str, draws: int, first: Sequence[Backbone] = (), space: Space = SPACE, seed: int = 0
) -> Strategy:
    config = StrategyConfig(name=name, population=6, parents=2, children=2)
    strategy = make_strategy(space, seed, config, first)
    strategy.prefilter = Prefilter(length, draws)
    return strategy


def search(
    strategy: Strategy, upto: int, recorded: Sequence[Trial] = (), toy: ToyEvaluator = TOY
) -> list[Trial]:
    return Search(strategy, toy, MemoryHistory(recorded)).run(upto)


def test_the_draw_with_the_highest_rank_is_proposed() -> None:
    for number, trial in enumerate(search(made("random", draws=5), 20)):
        random = Random(f"0 proposal {number}")
        drawn = [sample_backbone(random, SPACE).canonical() for _ in range(5)]
        assert trial.proposal.backbone == max(drawn, key=length)


@EACH
def test_one_draw_is_no_filter(name: str) -> None:
    config = StrategyConfig(name=name, population=6, parents=2, children=2)
    assert search(made(name, draws=1), 20) == search(make_strategy(SPACE, 0, config), 20)


@EACH
def test_replay_goes_on_as_if_never_interrupted(name: str) -> None:
    whole = search(made(name, draws=3), 20)
    for cut in range(21):
        assert search(made(name, draws=3), 20, whole[:cut]) == whole


@EACH
def test_the_users_backbones_are_not_filtered(name: str) -> None:
    own = [Backbone.parse("conv 3\nconv 3\nconv 3"), Backbone.parse("conv 5\nconv 5\nconv 5")]
    trials = search(made(name, draws=3, first=own), 8)
    assert [trial.proposal.backbone for trial in trials[:2]] == own


@EACH
def test_the_whole_space_is_found(name: str) -> None:
    """Draws that were proposed before do not stand in the way of one that was not, whatever their rank."""
    strategy = made(name, draws=4, space=Space(layers=1, attention_share=0))
    toy = ToyEvaluator(Backbone.parse("conv 7"))
    found = [str(trial.proposal.backbone) for trial in search(strategy, 7, toy=toy)]
    assert set(found) == {f"conv {kernel}" for kernel in (3, 5, 7, 9, 15, 31, 65)}
    with pytest.raises(SpaceExhausted):
        strategy.ask()


def test_a_backbone_is_ranked_once_in_canonical_form() -> None:
    calls: Counter[Backbone] = Counter()

    def counted(backbone: Backbone) -> float:
        calls[backbone] += 1
        return 0.0

    backbone = Backbone.parse("softmax(scale(P @ V.T)) @ K")
    best = Prefilter(counted, 3).best_of(lambda random: (backbone, ()), lambda each: True)
    for _ in range(4):
        assert best(Random(0)) == (backbone, ())
    assert calls == {backbone.canonical(): 1}


@pytest.mark.parametrize("proxy", PROXIES)
def test_what_the_config_names_ranks(corpus_file: Path, proxy: str) -> None:
    prepared = prepare(tiny.config(corpus_file, prefilter={"proxy": proxy}))
    rank = prepared.untrained(proxy)
    random = Random(0)
    values = {rank(sample_backbone(random, prepared.space)) for _ in range(6)}
    assert len(values) > 1
    prefilter = prepared.prefilter()
    assert prefilter is not None
    drawn = [sample_backbone(random, prepared.space).canonical() for _ in range(4)]
    waiting = iter(drawn)
    best, _ = prefilter.best_of(lambda random: (next(waiting), ()), lambda each: True)(random)
    assert rank(best) == max(map(rank, drawn))


def test_off_by_default(corpus_file: Path) -> None:
    assert prepare(tiny.config(corpus_file)).prefilter() is None


def test_a_proxy_that_there_is_not(corpus_file: Path) -> None:
    with pytest.raises(UserError, match=r"unknown prefilter.proxy 'synflaw'; .*did you mean synflow"):
        prepare(tiny.config(corpus_file, prefilter={"proxy": "synflaw"}))


def test_a_stopped_run_ends_as_the_uninterrupted_one(corpus_file: Path, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(tiny.config(corpus_file, prefilter={"proxy": "snip", "draws": 3}).to_yaml())
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert tiny.command("search", "--config", settings, "--out", whole).code == 0
    evaluate = ProxyEvaluator.evaluate

    def interrupted(self: ProxyEvaluator, proposal: object, *rest: object) -> object:
        if getattr(proposal, "number", None) == 5:
            raise KeyboardInterrupt
        return evaluate(self, proposal, *rest)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProxyEvaluator, "evaluate", interrupted)
        assert tiny.command("search", "--config", settings, "--out", stopped).code == 130
    assert tiny.command("search", "--resume", "--out", stopped).code == 0
    first, second = (
        [(trial.proposal, trial.outcome.score) for trial in History(f"sqlite:///{out / 'study.db'}").load()]
        for out in (whole, stopped)
    )
    assert len(first) == 9
    assert first == second
    assert (whole / LEADERBOARD).exists()
