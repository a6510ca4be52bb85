"""Backbones as Hugging Face models. Importing this package registers them with the Auto classes."""

from autobert_zero.hf.auto import register
from autobert_zero.hf.code import flat_code
from autobert_zero.hf.configuration import AutoBertZeroConfig
from autobert_zero.hf.from_bert import from_bert
from autobert_zero.hf.from_modernbert import from_modernbert
from autobert_zero.hf.language_models import (
    AutoBertZeroForMaskedLM,
    AutoBertZeroForPreTraining,
    AutoBertZeroForPreTrainingOutput,
)
from autobert_zero.hf.modeling import AutoBertZeroModel
from autobert_zero.hf.pretrained import AutoBertZeroPreTrainedModel
from autobert_zero.hf.sources import from_masked_lm, from_zoo
from autobert_zero.hf.task_models import (
    AutoBertZeroForMultipleChoice,
    AutoBertZeroForQuestionAnswering,
    AutoBertZeroForSequenceClassification,
    AutoBertZeroForTokenClassification,
)

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
