"""Trainings from scratch as jobs of the machine where a run is prepared."""

from pathlib import Path

from autobert_zero.search.comparison import Model, Training
from autobert_zero.search_runs.prepare import PreparedSearch
from autobert_zero.training.loop import Recipe
from autobert_zero.training.scratch import Job, default_workers


def models_at_once(prepared: PreparedSearch, workers: int) -> int:
    """Number of models that are trained from scratch at once.

    Args:
        prepared: The prepared run.
        workers: The number where `final.workers` does not set it; 0: as many as there are cores, or as fit on
            the GPUs.
    """
    config = prepared.config
    return config.final.workers or workers or default_workers(prepared.device, config.gpu_share)


def job_of(prepared: PreparedSearch, training: Training, weights: Path | None = None) -> Job:
    """A training as a job; if its weights are to be kept, they are written into the file."""
    config, final = prepared.config, prepared.config.final
    recipe = Recipe(
        training.steps,
        final.batch_size,
        training.learning_rate,
        precision=config.precision,
        compile=config.compile,
    )
    return Job(
        name=training.name,
        backbone=training.model.backbone,
        model=training.model.sizes,
        data=prepared.data,
        vocabulary=prepared.vocabulary,
        recipe=recipe,
        seed=training.seed,
        device=str(prepared.device),
        weights=weights if training.keep_weights else None,
        short_share=final.short_share,
        short_length=final.short_length,
    )


def training_of(job: Job) -> Training:
    """A job without what belongs to one machine: the text's files, the device, the file for the weights."""
    model, recipe = Model(job.backbone, job.model), job.recipe
    return Training(job.name, model, recipe.steps, recipe.learning_rate, job.seed, job.weights is not None)
