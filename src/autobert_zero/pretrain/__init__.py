"""Pre-training of a backbone: from text to a model folder that fine-tuning and `transformers` load.

Called, the package runs one: `autobert_zero.pretrain("models/mine", "bert")`, see
`autobert_zero.api.pretrain`.
"""

from autobert_zero.callable_package import make_callable

make_callable(__name__)
