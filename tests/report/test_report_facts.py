"""What the report computes from a history: fronts, families, frequencies, priorities, intervals."""

import math
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_runs import LAYERS, toy_config, toy_run, toy_trials

from autobert_zero import cost
from autobert_zero.report.curves import best_so_far, differing_settings, group_comparable, interval
from autobert_zero.report.data import candidates, failures, run_data, saved_evaluations
from autobert_zero.report.frequencies import frequencies
from autobert_zero.report.lineage import gains, lineage
from autobert_zero.report.page import sentence
from autobert_zero.report.pareto import front
from autobert_zero.report.runs import Run
from autobert_zero.report.timeline import timeline
from autobert_zero.search.strategies.op_nas import op_nas
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.settings import resolve
from autobert_zero.space import LAYER_KINDS, Backbone, Space

figures = st.none() | st.integers(0, 6).map(float)


@given(st.lists(st.tuples(figures, figures), max_size=12))
def test_front_is_what_nothing_dominates(points: list[tuple[float | None, float | None]]) -> None:
    known = {i: (a, b) for i, (a, b) in enumerate(points) if a is not None and b is not None}
    undominated = {
        (a, b)
        for a, b in known.values()
        if not any(c <= a and d >= b and (c, d) != (a, b) for c, d in known.values())
    }
    found = front([a for a, _ in points], [b for _, b in points])
    assert {known[i] for i in found} == undominated
    assert len(found) == len(undominated), "of equals one"
    assert [known[i][0] for i in found] == sorted(known[i][0] for i in found)


A = Backbone.parse("conv 3\nconv 5\nQ + K").canonical()
B = Backbone.parse("conv 3\nconv 7\nQ + K").canonical()
C = Backbone.parse("conv 9\nconv 7\nQ + softsign(K)").canonical()
FAMILY = (
    Trial(Proposal(0, A), Outcome(Status.COMPLETE, 1.0)),
    Trial(Proposal(1, C), Outcome(Status.DIVERGED, reason="loss is nan at step 3", seconds=2.0)),
    Trial(Proposal(2, B, 1, 0, ("layer 2: conv 5 -> conv 7",)), Outcome(Status.COMPLETE, 3.5), {0: 3.0}),
    Trial(Proposal(3, C, 1, 0), Outcome(Status.DIVERGED, reason="loss is nan at step 12", seconds=1.0)),
    Trial(Proposal(4, C, 2, 2), Outcome(Status.COMPLETE, 3.25), {2: 4.0, 0: 3.125}),
)


def test_gains_compare_with_the_parent_as_it_was_scored_last() -> None:
    assert gains(FAMILY) == [None, None, 0.5, None, -0.75]


def test_lineage_goes_from_the_first_ancestor_to_the_trial() -> None:
    steps = lineage(FAMILY, 4)
    assert [step.trial.proposal.number for step in steps] == [0, 2, 4]
    assert [step.gain for step in steps] == [None, 0.5, -0.75]
    assert [step.changed for step in steps] == [(), (1,), (0, 2)]


def test_frequencies_by_hand() -> None:
    trials = [
        *(Trial(Proposal(i, A), Outcome(Status.COMPLETE, 10.0 - i)) for i in range(6)),
        *(Trial(Proposal(i, C), Outcome(Status.COMPLETE, -float(i))) for i in range(6, 50)),
        *(Trial(Proposal(i, B), Outcome(Status.FAILED, reason="too large")) for i in range(50, 60)),
    ]
    found = frequencies(trials)
    assert (found.best_count, found.all_count) == (5, 60)
    shares: dict[str, object] = dict(zip(LAYER_KINDS, zip(found.best, found.all, strict=True), strict=True))
    assert shares["attention"] == ([0, 0, 1], [0, 0, 1])
    assert shares["conv 3"] == ([1, 0, 0], [16 / 60, 0, 0])
    assert shares["conv 5"] == ([0, 1, 0], [0, 6 / 60, 0])
    assert shares["conv 7"] == ([0, 0, 0], [0, 54 / 60, 0])
    assert shares["conv 9"] == ([0, 0, 0], [44 / 60, 0, 0])


def test_the_best_are_a_tenth() -> None:
    assert frequencies(toy_trials(toy_config(120))).best_count == math.ceil(
        sum(trial.outcome.score is not None for trial in toy_trials(toy_config(120))) / 10
    )


def test_timeline_is_what_the_strategy_knew() -> None:
    run = toy_run(40)
    assert run.config is not None
    found = timeline(run.config, (), run.trials)
    assert found is not None
    assert found.times == list(range(1, 41))
    strategy = op_nas(Space(LAYERS), run.config.seed, run.config.strategy, ())
    priority = strategy.priority
    assert priority is not None
    for time, trial in enumerate(run.trials):
        strategy.rescore(trial.rescored)
        strategy.tell(trial)
        for layer in range(LAYERS):
            for row, operation in enumerate(found.operations):
                record = priority.records[layer].get(operation)
                assert found.plays[layer][row][time] == (record.plays if record else 0)
                if record and record.completed:
                    assert found.mean[layer][row][time] == pytest.approx(record.mean, abs=1e-4)
                    upper = priority.bound(layer, operation)
                    assert found.bound[layer][row][time] == pytest.approx(upper, abs=1e-4)
                else:
                    assert found.mean[layer][row][time] is None
    closed = [trial for trial in run.trials if trial.proposal.round <= 10]
    for layer in range(LAYERS):
        for row, operation in enumerate(found.operations):
            used = sum(operation in trial.proposal.backbone.layers[layer].operations for trial in closed)
            assert found.plays[layer][row][-1] == used


def test_timeline_of_a_long_history_is_thinned_to_its_end() -> None:
    run = toy_run(130)
    assert run.config is not None
    found = timeline(run.config, (), run.trials)
    assert found is not None
    assert len(found.times) == 60
    assert found.times[-1] == 130
    assert found.times == sorted(set(found.times))


def test_a_strategy_without_priorities_has_no_timeline() -> None:
    run = toy_run(12, strategy="random")
    assert run.config is not None
    assert timeline(run.config, (), run.trials) is None
    assert run_data(run)["priority"] is None


def test_interval_of_a_textbook() -> None:
    # Student's t at 97.5 % with 4 degrees of freedom is 2.776; deviation sqrt(2.5).
    found = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.mean == 3.0
    assert found.half == pytest.approx(2.7764451 * math.sqrt(2.5 / 5))
    assert interval([7.0]).half is None


def test_best_so_far_waits_for_the_first_score() -> None:
    assert best_so_far(FAMILY) == [1.0, 1.0, 3.5, 3.5, 3.5]
    assert best_so_far(FAMILY[1:2]) == [-math.inf]


def test_runs_of_one_config_are_averaged_and_others_are_not() -> None:
    runs = [toy_run(40, 0), toy_run(50, 1), toy_run(40, 0, "random"), Run("bare", trials=FAMILY)]
    config = runs[0].config
    assert config is not None
    runs[1] = Run("b", resolve(config, {"seed": 1}), trials=runs[1].trials)
    searches, bare = group_comparable(runs)
    groups = searches.groups
    assert {each.label: each.runs for each in groups} == {
        "strategy.name=op-nas": [0, 1],
        "strategy.name=random": [2],
    }
    assert [each.label for each in bare.groups] == ["bare"]
    assert dict(differing_settings(runs))["strategy.name"] == ["op-nas", "op-nas", "random", ""]
    both = groups[0]
    curves = [best_so_far(run.trials) for run in runs[:2]]
    assert both.counts[-1] == 40, "as far as the shorter one"
    for count, found in zip(both.counts, both.curve, strict=True):
        pair = [curve[count - 1] for curve in curves]
        assert found.mean == pytest.approx(fmean(pair))
        assert found.half == pytest.approx(12.7062047 * abs(pair[0] - pair[1]) / 2)


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"corpus": "other.txt"}},
        {"data": {"vocab_size": 512}},
        {"model": {"width": 128}},
        {"final": {"steps": 10}},
        {"proxy": {"score": "accuracy"}},
    ],
)
def test_what_means_something_else_is_not_compared(change: dict[str, Any]) -> None:
    one = toy_run(10)
    assert one.config is not None
    other = replace(one, name="other", config=resolve(one.config, change))
    first, second = group_comparable([one, other, one])
    assert [each.runs for each in first.groups] == [[0, 2]]
    assert [each.runs for each in second.groups] == [[1]]
    assert first.label != second.label


def test_other_text_under_the_same_name_is_not_compared() -> None:
    one = replace(toy_run(10), text="a" * 64)
    assert len(group_comparable([one, replace(one, text="b" * 64)])) == 2
    assert len(group_comparable([one, replace(one, text="")])) == 1, "not recorded by earlier versions"


def test_text_and_teacher_count_by_their_digests() -> None:
    one = replace(toy_run(10), text="a" * 64, teacher="a" * 32)
    changes = ({"teacher": "bert"}, {"teacher": "elsewhere/bert"})
    configs = [
        resolve(toy_config(), {"distil": distil, "proxy": {"sharing": "none"}, "data": {"corpus": corpus}})
        for distil, corpus in zip(changes, ("kjv", "elsewhere/kjv"), strict=True)
    ]
    first, second = (replace(one, config=config) for config in configs)
    assert [[each.runs for each in part.groups] for part in group_comparable([first, second])] == [[[0, 1]]]
    assert differing_settings([first, second]) == []
    other = replace(second, teacher="b" * 32)
    assert [part.label for part in group_comparable([first, other])] == [
        *("distil.teacher=bert (aaaaaaaaaaaa)", "distil.teacher=…ere/bert (bbbbbbbbbbbb)")
    ]


def test_settings_of_the_machine_separate_nothing() -> None:
    one = toy_run(10)
    assert one.config is not None
    distil = {"distil": {"teacher": "bert"}, "proxy": {"sharing": "none"}}
    machine = {
        "device": "cpu",
        "gpu_share": 0.5,
        "precision": "fp32",
        "deterministic": True,
        "study": "s",
        "storage": "sqlite:///a.db",
        "final": {"workers": 3},
        "distil": {"kept_gigabytes": 1},
    }
    first = resolve(one.config, distil)
    runs = [replace(one, config=config) for config in (first, resolve(first, machine))]
    ((group,),) = (each.groups for each in group_comparable(runs))
    assert group.runs == [0, 1]


def test_distillation_losses_are_no_nats_and_have_no_noise_of_their_own() -> None:
    finals = {
        name: {"status": "complete", "val_loss": loss}
        for name, loss in (("best", 0.02), ("hybrid", 0.03), ("convolution", 0.015))
    }
    config = resolve(toy_config(), {"distil": {"teacher": "bert"}, "proxy": {"sharing": "none"}})
    run = Run("r", config, trials=FAMILY, finals=finals)
    ((group,),) = (each.groups for each in group_comparable([run]))
    assert sentence(group) == (
        "Over one run the found student beats the hand-made hybrid by 0.010 in distillation loss, is beaten "
        "by convolutions only by 0.005 in distillation loss."
    )
    ((group,),) = (each.groups for each in group_comparable([replace(run, config=toy_config())]))
    assert "is not told apart from the hand-made hybrid (0.010 nats)" in sentence(group)


def test_many_differing_settings_do_not_make_a_label() -> None:
    one = toy_run(10, name="one")
    assert one.config is not None
    change = {"strategy": {"name": "random", "parents": 2, "population": 5, "alpha": 0.1, "children": 3}}
    (comparison,) = group_comparable([one, replace(one, name="two", config=resolve(one.config, change))])
    assert [each.label for each in comparison.groups] == ["one", "two"]


@pytest.mark.parametrize("name", ["op-nas", "op-nas-paper", "pareto"])
def test_every_strategy_with_a_priority_has_its_timeline(name: str) -> None:
    run = toy_run(30, strategy=name)
    assert run.config is not None
    found = timeline(run.config, (), run.trials)
    assert found is not None
    assert found.times[-1] == 30
    assert any(plays[-1] for layer in found.plays for plays in layer)


def test_a_strategy_of_the_users_own_has_no_timeline() -> None:
    run = toy_run(10)
    assert run.config is not None
    own = resolve(run.config, {"strategy": {"name": "luck"}})
    assert run_data(replace(run, config=own))["priority"] is None


def test_leads_are_paired() -> None:
    def finished(best: float, bert: float, seed: int) -> Run:
        finals = {
            name: {"status": "complete", "val_loss": loss} for name, loss in (("best", best), ("bert", bert))
        }
        return Run("r", toy_config(seed=seed), trials=FAMILY, finals=finals)

    runs = [finished(4.0, 5.0, 0), finished(3.0, 5.0, 1)]
    ((found,),) = (each.groups for each in group_comparable(runs))
    assert found.finals["best"] == interval([4.0, 3.0])
    assert found.leads == {"bert": interval([1.0, 2.0])}
    assert sentence(found).startswith("Over 2 runs the found backbone")


def test_a_repeated_run_is_no_further_seed() -> None:
    """Its result is the same, so that an interval over both would be far too narrow."""
    finals = {
        name: {"status": "complete", "val_loss": loss} for name, loss in (("best", 4.0), ("bert", 4.001))
    }
    one = Run("r", toy_config(), trials=FAMILY, finals=finals)
    ((found,),) = (each.groups for each in group_comparable([replace(one, finals={}), one, one]))
    assert (found.runs, found.seeds) == ([0, 1, 2], 1)
    assert found.leads["bert"].half is None
    assert sentence(found) == (
        "Over 3 runs with the same seed the found backbone is not told apart from BERT (0.001 nats)."
    )


def test_costs_are_those_of_the_cost_model() -> None:
    run = toy_run(30)
    assert run.sizes is not None
    columns = candidates(run)
    backbones = [trial.proposal.backbone for trial in run.trials]
    assert columns["parameters"] == [cost.parameters(each, run.sizes) for each in backbones]
    assert columns["flops"] == [cost.flops(each, run.sizes, 128) for each in backbones]
    recorded = replace(run.trials[0].outcome, metrics={"parameters": 7.0})
    trials = (replace(run.trials[0], outcome=recorded), *run.trials[1:])
    assert candidates(replace(run, trials=trials))["parameters"] == [7, *columns["parameters"][1:]]


def test_failures_are_put_together_by_reason() -> None:
    (row,) = failures(FAMILY)
    assert row == {
        "status": "diverged",
        "reason": "loss is nan at step 3",
        "others": 1,
        "numbers": [1, 3],
        "seconds": 3.0,
    }


def test_what_the_caches_saved_is_counted() -> None:
    assert saved_evaluations(()) == {"draws": None, "reused": None}
    twin = Outcome(Status.COMPLETE, 1.0, same_as=0)
    trials = [Trial(Proposal(0, A, repeats=3), Outcome(Status.COMPLETE, 1.0)), Trial(Proposal(1, A), twin)]
    assert saved_evaluations(trials) == {"draws": 3, "reused": 1}
