"""One fine-tuning: a model, a task, a seed and a learning rate, by the Trainer of `transformers`."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    set_seed,
)

import autobert_zero.hf  # noqa: F401 - the Auto classes know ours
from autobert_zero.errors import UserError
from autobert_zero.finetune.metrics import METRICS
from autobert_zero.finetune.tasks import Task


@dataclass(frozen=True)
class Settings:
    """How to fine-tune.

    Attributes:
        epochs: Most passes over the training data.
        batch_size: Sequences in a batch.
        length: Most tokens of a sequence; 0 means as many as the model has positions.
        patience: Evaluations without a better result after which a training stops.
        evaluations: Evaluations in an epoch.
        weight_decay: AdamW's.
        warmup: Share of the steps in which the rate rises.
    """

    epochs: int = 3
    batch_size: int = 32
    length: int = 128
    patience: int = 3
    evaluations: int = 1
    weight_decay: float = 0.01
    warmup: float = 0.1


@dataclass(frozen=True)
class Run:
    """What a fine-tuning gave.

    Attributes:
        seed: Of the new head, the order of the data and dropout.
        rate: Peak learning rate.
        metrics: By validation split, then by metric, of the weights best by the first split's first metric.
        predictions: By test split: class numbers or values.
        seconds: Time of training with its evaluations.
    """

    seed: int
    rate: float
    metrics: dict[str, dict[str, float]]
    predictions: dict[str, list[float]]
    seconds: float


def tokenised(
    splits: dict[str, Dataset], tokenizer: PreTrainedTokenizerBase, length: int
) -> dict[str, Dataset]:
    """The splits as token ids; texts of more than `length` tokens are cut, the longer of a pair first."""

    def encode(batch: dict[str, list[str]]) -> Any:
        return tokenizer(batch["text"], batch.get("pair"), truncation=True, max_length=length)

    texts = ["text", "pair"]
    return {
        name: split.map(encode, batched=True, remove_columns=[c for c in texts if c in split.column_names])
        for name, split in splits.items()
    }


def load_tokenizer(model: Path | str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model.

    Raises:
        UserError: The folder has none.
    """
    try:
        return AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{model} has no tokenizer ({reason}); export the run, or save the tokenizer beside it"
        ) from None


def finetune_once(
    model: Path | str,
    task: Task,
    data: dict[str, Dataset],
    tokenizer: PreTrainedTokenizerBase,
    settings: Settings,
    seed: int,
    rate: float,
    scratch: Path,
) -> Run:
    """Trains once, evaluates, and predicts the test splits with the best weights.

    Args:
        model: A folder of `save_pretrained` or an exported one, or a name on the Hub.
        task: What to train on.
        data: Of `tokenised`.
        tokenizer: Pads the batches.
        settings: How.
        seed: Of head, order and dropout.
        rate: Peak learning rate.
        scratch: Folder for the best weights so far.

    Raises:
        UserError: The loss is not a number.
    """
    set_seed(seed)
    labels = max(len(task.labels), 1)
    problem = "regression" if task.regression else "single_label_classification"
    loaded = AutoModelForSequenceClassification.from_pretrained(
        model, num_labels=labels, problem_type=problem, trust_remote_code=False
    )
    steps = -(-len(data["train"]) // settings.batch_size)
    every = max(steps // settings.evaluations, 1)
    arguments = TrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=2 * settings.batch_size,
        learning_rate=rate,
        weight_decay=settings.weight_decay,
        warmup_steps=int(settings.warmup * steps * settings.epochs),
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=1,
        save_only_model=True,
        load_best_model_at_end=True,
        metric_for_best_model=task.metrics[0],
        greater_is_better=True,
        logging_strategy="no",
        seed=seed,
        report_to=[],
        disable_tqdm=not sys.stderr.isatty(),
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    trainer = Trainer(
        model=loaded,
        args=arguments,
        train_dataset=data["train"],
        eval_dataset=data[task.validation[0]],
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=_measure(task),
        callbacks=[EarlyStoppingCallback(settings.patience)],
    )
    result = trainer.train()
    if not np.isfinite(result.training_loss):
        raise UserError(
            f"task {task.name}: the loss is {result.training_loss} at rate {rate:g}; choose a lower one"
        )
    metrics = {split: _plain(task, trainer.evaluate(data[split])) for split in task.validation}
    predictions = {
        split: _decided(task, trainer.predict(data[split]).predictions).tolist()
        for split in task.test
        if split in data
    }
    return Run(seed, rate, metrics, predictions, result.metrics["train_runtime"])


def _measure(task: Task) -> Callable[[EvalPrediction], dict[str, float]]:
    def measure(given: EvalPrediction) -> dict[str, float]:
        decided = _decided(task, given.predictions)
        return {name: METRICS[name](decided, given.label_ids) for name in task.metrics}

    return measure


def _decided(task: Task, logits: Any) -> Any:
    """Classes, or values: (N, c) -> (N,)."""
    return logits[:, 0] if task.regression else logits.argmax(-1)


def _plain(task: Task, measured: dict[str, float]) -> dict[str, float]:
    return {name: measured[f"eval_{name}"] for name in task.metrics}
