"""Random search: the baseline of every other strategy."""

from autobert_zero.search.strategies.base import StrategyBase
from autobert_zero.search.trial import Proposal, Trial


class RandomSearch(StrategyBase):
    """Samples every backbone independently."""

    def ask(self) -> Proposal:
        return self.propose(self.sampled, 0, None)

    def tell(self, trial: Trial) -> None:
        self.note(trial)
