"""Whether products in single precision are rounded to TF32."""

import torch

from autobert_zero.tracing import called_while_compiling


@called_while_compiling
def rounds_to_tf32() -> bool:
    """Whether CUDA cards may round the factors of products in single precision to TF32.

    PyTorch has two switches. From 2.9 on, reading the older one is an error where a program has set the newer
    one, as the Trainer of `transformers` does for `tf32` and `torch_compile`.
    """
    matmul = torch.backends.cuda.matmul
    return bool(matmul.fp32_precision == "tf32" if hasattr(matmul, "fp32_precision") else matmul.allow_tf32)
