"""How long the report of a long search takes, and how large it is.

    python benchmarks/report_size.py [--quick] [--run FOLDER]

OP-NAS runs on the toy evaluator and records 10,000 candidates (1,000 with `--quick`), of which a fiftieth
diverge, in an Optuna study in SQLite, as a search does; `--run` keeps the run folder, and reuses it.
Recording takes ten minutes or so, since Optuna writes every parameter and attribute by itself; only the
report is timed, by the clock and by the processor where others use it too. The last line is one JSON object.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from time import perf_counter, process_time

from autobert_zero.report.page import write_report
from autobert_zero.search.config import SearchConfig, SearchModelConfig, StrategyConfig
from autobert_zero.search.history import History
from autobert_zero.search.loop import Search
from autobert_zero.search.strategies import make_strategy
from autobert_zero.search.toy import ToyEvaluator
from autobert_zero.search.training_config import ProxyConfig
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import Space, sample_backbone

DIVERGED = 0.02


def record(folder: Path, candidates: int) -> float:
    """Runs the toy search and records it; returns the seconds that recording took."""
    config = SearchConfig(
        model=SearchModelConfig(layers=6),
        strategy=StrategyConfig(population=100, parents=5, children=4),
        proxy=ProxyConfig(candidates=candidates),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    history, space = TimedHistory(folder), config.bounds
    strategy = make_strategy(space, config.seed, config.strategy)
    Search(strategy, DivergingToy(space), history).run(candidates)
    return history.seconds


class TimedHistory(History):
    """A history that measures the seconds it takes to record trials.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(f"sqlite:///{folder / 'study.db'}")
        self.seconds = 0.0

    def append(self, trial: Trial) -> None:
        start = perf_counter()
        super().append(trial)
        self.seconds += perf_counter() - start
        if len(self) % 500 == 0:
            print(f"{len(self)} recorded, {self.seconds / len(self) * 1e3:.1f} ms each", flush=True)


class DivergingToy(ToyEvaluator):
    """A toy evaluator with which some candidates diverge.

    Args:
        space: The search space.
    """

    def __init__(self, space: Space) -> None:
        super().__init__(sample_backbone(Random("target"), space).canonical())
        self._random = Random(0)

    def outcome(self, proposal: Proposal) -> Outcome:
        random = self._random
        if random.random() < DIVERGED:
            reason = f"loss is nan at step {random.randrange(1, 40)}"
            return Outcome(Status.DIVERGED, reason=reason, seconds=0.4)
        scored = super().outcome(proposal)
        return Outcome(scored.status, scored.score, seconds=random.uniform(4, 6))

    def rescore(self, contenders: Sequence[Trial], trials: Sequence[Trial]) -> dict[int, float]:
        return {trial.proposal.number: trial.outcome.score or 0.0 for trial in contenders}


def main() -> None:
    """Records the run, unless it exists, and times its report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="1,000 candidates")
    parser.add_argument("--run", type=Path, help="run folder to keep, or one that was kept")
    arguments = parser.parse_args()
    candidates = 1_000 if arguments.quick else 10_000
    with tempfile.TemporaryDirectory() as temporary:
        run = arguments.run or Path(temporary) / "run"
        recording = None if (run / "study.db").exists() else record(run, candidates)
        start, start_cpu = perf_counter(), process_time()
        page = write_report([run], Path(temporary) / "report.html")
        seconds, cpu_seconds = perf_counter() - start, process_time() - start_cpu
        result = {
            "benchmark": "report_size",
            "candidates": len(History(f"sqlite:///{run / 'study.db'}")),
            "seconds": round(seconds, 2),
            "cpu_seconds": round(cpu_seconds, 2),
            "megabytes": round(page.stat().st_size / 1e6, 2),
            "recording_ms_each": None if recording is None else round(recording / candidates * 1e3, 1),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
