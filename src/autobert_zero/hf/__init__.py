"""Backbones as Hugging Face models. Importing this package registers them with the Auto classes."""

from autobert_zero.hf.auto import register
from autobert_zero.hf.code import flat_code
from autobert_zero.hf.configuration import AutoBertZeroConfig
from autobert_zero.hf.from_bert import from_bert
from autobert_zero.hf.from_modernbert import from_modernbert
from autobert_zero.hf.heads import (
    AutoBertZeroForMaskedLM,
    AutoBertZeroForMultipleChoice,
    AutoBertZeroForPreTraining,
    AutoBertZeroForPreTrainingOutput,
    AutoBertZeroForQuestionAnswering,
    AutoBertZeroForSequenceClassification,
    AutoBertZeroForTokenClassification,
)
from autobert_zero.hf.modeling import AutoBertZeroModel, AutoBertZeroPreTrainedModel
from autobert_zero.hf.sources import from_masked_lm, from_zoo

register()
AutoBertZeroPreTrainedModel.code = staticmethod(flat_code)  # type: ignore[method-assign]

__all__ = [
    "AutoBertZeroConfig",
    "AutoBertZeroForMaskedLM",
    "AutoBertZeroForMultipleChoice",
    "AutoBertZeroForPreTraining",
    "AutoBertZeroForPreTrainingOutput",
    "AutoBertZeroForQuestionAnswering",
    "AutoBertZeroForSequenceClassification",
    "AutoBertZeroForTokenClassification",
    "AutoBertZeroModel",
    "AutoBertZeroPreTrainedModel",
    "from_bert",
    "from_masked_lm",
    "from_modernbert",
    "from_zoo",
]
