"""The stages of a pre-training, for an estimate of its time and memory."""

from autobert_zero.estimate import TrainingStage
from autobert_zero.pretrain.config import PretrainConfig


def pretrain_stages(config: PretrainConfig, devices: int = 1) -> list[TrainingStage]:
    """The phases of a pre-training, with the sequences that one of several devices computes at once."""
    return [
        TrainingStage(
            f"phase {number}",
            config.layers(),
            phase.length,
            max(phase.batch_size // (config.recipe.accumulation * devices), 1),
            phase.steps * phase.batch_size,
            checkpointing=config.recipe.gradient_checkpointing,
            compile="off" if config.steps_differ else config.recipe.compile,
        )
        for number, phase in enumerate(config.phases, start=1)
    ]
