"""Random search: the first baseline of every other strategy."""

from autobert_zero.search.strategies.base import NoveltyKeeper
from autobert_zero.search.trial import Proposal, Trial
from autobert_zero.space import sample_backbone


class RandomSearch(NoveltyKeeper):
    """Samples every backbone independently."""

    def ask(self) -> Proposal:
        return self.propose(lambda random: (sample_backbone(random, self.space), ()), 0, None)

    def tell(self, trial: Trial) -> None:
        self.note(trial)
