"""Fine-tuning of pre-trained models on tasks, and the GLUE table.

Called, the package fine-tunes: `autobert_zero.finetune("models/mine", "sst2", "tuned/sst2")`, see
`autobert_zero.api.finetune`.
"""

from autobert_zero.callable_package import make_callable

make_callable(__name__)
