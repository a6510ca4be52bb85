"""Tree-structured Parzen estimator (Bergstra et al. 2011), by Optuna, over derivations of backbones."""

from bisect import insort
from collections.abc import Sequence
from random import Random
from typing import Any

from autobert_zero.search.strategies.base import StrategyBase
from autobert_zero.search.strategies.derivation import ChoicePoint, alphabet, derive, symbols
from autobert_zero.search.trial import Proposal, Status, Trial
from autobert_zero.space import LAYER_KINDS, Backbone

BEST, NEWEST, AT_MOST = 25, 100, 250
"""Best and newest trials that are kept once there are more than `AT_MOST`: Optuna looks at all of them for
every parameter of every proposal, and calls at most 25 of them good."""


class Tpe(StrategyBase):
    """Optuna's sampler over one categorical parameter for each choice of a derivation.

    The parameters of a layer are its kind and, for an attention, the symbols of its expression
    (`strategies.derivation`): the tree in the method's name. A symbol that is not legal at its place stands
    for the next legal one, so that every value decodes to a backbone.

    After the first population, which is sampled, every proposal asks a new sampler, seeded by the trial's
    number, about an in-memory study of the recorded trials.
    """

    def begin(self) -> None:
        self._newest: list[tuple[float, int, Backbone]] = []  # since the last rebuilding, in order
        self._best: list[tuple[float, int, Backbone]] = []
        self._study: Any = None

    def ask(self) -> Proposal:
        round_ = max(self._next - self.config.population + 1, 0)
        draw = self.or_sample(self._drawn) if round_ and self._newest else self.sampled
        return self.propose(draw, round_, None)

    def tell(self, trial: Trial) -> None:
        self.note(trial)
        outcome = trial.outcome
        if outcome.status is not Status.COMPLETE or outcome.score is None:
            return
        backbone = trial.proposal.backbone
        entry = (-outcome.score, trial.proposal.number, backbone)
        insort(self._best, entry)
        del self._best[BEST:]
        self._newest.append(entry)
        if self._study is not None:
            self._study.add_trial(_optuna_trial(outcome.score, backbone, self.space.primitives))
        if len(self._newest) > AT_MOST:
            kept = {number: (score, number, backbone) for score, number, backbone in self._best}
            kept |= {number: (score, number, backbone) for score, number, backbone in self._newest[-NEWEST:]}
            self._newest = [kept[number] for number in sorted(kept)]
            self._study = None  # rebuilt from these at the next proposal

    def _drawn(self, random: Random) -> tuple[Backbone, tuple[str, ...]]:
        import optuna

        if self._study is None:
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            self._study = optuna.create_study(direction="maximize")
            self._study.add_trials(
                [
                    _optuna_trial(-score, backbone, self.space.primitives)
                    for score, _, backbone in self._newest
                ]
            )
        sampler = optuna.samplers.TPESampler(n_startup_trials=0, seed=random.getrandbits(32))
        trial = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)

        def choose(point: ChoicePoint, legal: Sequence[str]) -> str:
            name, among = _parameter(point.layer, point.step, self.space.primitives)
            value = sampler.sample_independent(self._study, trial, name, _distribution(among))
            start = among.index(value)
            return next(symbol for symbol in (*among[start:], *among[:start]) if symbol in legal)

        return derive(self.space, choose), ()


def _optuna_trial(score: float, backbone: Backbone, primitives: tuple[str, ...]) -> Any:
    """An Optuna trial with the choices that make the backbone.

    A backbone of the user may hold operations that the space does not have: those choices are left out.
    """
    import optuna

    parameters, distributions = {}, {}
    for layer, chosen in enumerate(map(symbols, backbone.layers)):
        for step, symbol in enumerate(chosen):
            name, among = _parameter(layer, step, primitives)
            if symbol in among:
                parameters[name], distributions[name] = symbol, _distribution(among)
    return optuna.trial.create_trial(value=score, params=parameters, distributions=distributions)


def _parameter(layer: int, step: int, primitives: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The name of a parameter and its values."""
    return f"layer {layer} choice {step}", alphabet(primitives) if step else LAYER_KINDS


def _distribution(among: tuple[str, ...]) -> Any:
    import optuna

    return optuna.distributions.CategoricalDistribution(among)
