"""Registers our classes with the Auto classes of `transformers`."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForPreTraining,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from autobert_zero.hf import language_models, task_models
from autobert_zero.hf.configuration import AutoBertZeroConfig
from autobert_zero.hf.modeling import AutoBertZeroModel

MODELS = {
    AutoModel: AutoBertZeroModel,
    AutoModelForMaskedLM: language_models.AutoBertZeroForMaskedLM,
    AutoModelForPreTraining: language_models.AutoBertZeroForPreTraining,
    AutoModelForSequenceClassification: task_models.AutoBertZeroForSequenceClassification,
    AutoModelForTokenClassification: task_models.AutoBertZeroForTokenClassification,
    AutoModelForQuestionAnswering: task_models.AutoBertZeroForQuestionAnswering,
    AutoModelForMultipleChoice: task_models.AutoBertZeroForMultipleChoice,
}

PIPELINES = {
    "AutoModel": "feature-extraction",
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForTokenClassification": "token-classification",
    "AutoModelForQuestionAnswering": "question-answering",
}
"""The Hub's pipeline tag of a model, by the Auto class that loads it."""


def register() -> None:
    """Registers the configuration and every model. Idempotent."""
    AutoConfig.register(AutoBertZeroConfig.model_type, AutoBertZeroConfig, exist_ok=True)
    for auto, model in MODELS.items():
        auto.register(AutoBertZeroConfig, model, exist_ok=True)
