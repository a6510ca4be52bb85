"""Tasks as the proxy of a search (paper): short fine-tunings score a candidate."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from tokenizers import Tokenizer
from transformers import set_seed

from autobert_zero.finetune.config import FinetuneConfig
from autobert_zero.finetune.kinds import find_task
from autobert_zero.finetune.suite import make_problem
from autobert_zero.finetune.training.train import tune
from autobert_zero.hf import from_masked_lm
from autobert_zero.hf.tokenizer import wrap_tokenizer
from autobert_zero.nn import MaskedLM


class TaskScores:
    """Fine-tunes a copy of a model on tasks; the data are read once.

    Args:
        names: Names of the tasks, as `make_problem` takes them.
        data: Folder with one folder per task; None for the Hub.
        tokenizer: Tokenizer of the search.
        length: Maximum tokens of a sequence.
        settings: How to fine-tune.
        rate: Peak learning rate.

    Raises:
        UserError: A task or its data cannot be used.
    """

    def __init__(
        self,
        names: Sequence[str],
        data: Path | None,
        tokenizer: Tokenizer,
        length: int,
        settings: FinetuneConfig,
        rate: float,
    ) -> None:
        encoder = wrap_tokenizer(tokenizer, length)
        self._problems = [
            make_problem(name, None if data is None else find_task(name).folder(data), encoder, length)
            for name in names
        ]
        self._settings = settings
        self._rate = rate

    def __call__(self, model: MaskedLM, seed: int) -> dict[str, float]:
        """The mean of each task's metrics over its validation splits, by the task's name.

        Raises:
            Diverged: A fine-tuning diverged.
        """
        scores = {}
        with tempfile.TemporaryDirectory() as folder:
            from_masked_lm(model).save_pretrained(folder)
            for problem in self._problems:
                set_seed(seed)  # for the new head: the score is a function of model and seed
                done = tune(problem.load(folder), problem, self._settings, seed, self._rate)
                scores[problem.name] = fmean(
                    value for metrics in done.metrics.values() for value in metrics.values()
                )
        return scores
