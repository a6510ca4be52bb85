"""What a person sees while a search runs."""

from autobert_zero.progress import Bars
from autobert_zero.search.trial import Status, Trial


class RunProgress(Bars):
    """Progress bars with the current best, and one line per candidate."""

    def candidate(self, trial: Trial, best: float | None) -> None:
        """Prints the line of a candidate."""
        outcome = trial.outcome
        if outcome.status is Status.COMPLETE and outcome.score is not None:
            mark = "*" if best is None or outcome.score >= best else " "
            result = f"{mark} score {outcome.score:8.4f}"
        else:
            result = f"  {outcome.status.value}: {outcome.reason}"
        layers = " | ".join(trial.proposal.backbone.to_list())
        self.say(f"{trial.proposal.number:5d} {result} {outcome.seconds:6.1f} s  {layers}")
