"""Engines that run an encoder: PyTorch, ONNX Runtime, and ONNX Runtime with 8-bit weights."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autobert_zero.devices import find_device
from autobert_zero.errors import UserError, first_line
from autobert_zero.export.programs import MODEL_INPUTS, write_programs
from autobert_zero.hf.encoders import convert_encoder
from autobert_zero.model_comparison.models import ComparedEncoder

Array = NDArray[Any]

PYTORCH, ONNX, INT8 = "PyTorch", "ONNX Runtime", "ONNX Runtime int8"


@dataclass(frozen=True)
class Engine:
    """A way to run an encoder.

    Attributes:
        name: `PYTORCH`, `ONNX` or `INT8`.
        megabytes: Size of its file of weights.
        run: Computes states (B, n, d) from ids and mask (B, n).
    """

    name: str
    megabytes: float
    run: Callable[[Array, Array], Array]


def engines(encoder: ComparedEncoder, device: str, names: Sequence[str], folder: Path) -> Iterator[Engine]:
    """Yields the available engines of an encoder.

    Args:
        encoder: The encoder.
        device: Device of PyTorch; ONNX Runtime runs on the CPU.
        names: Names of the engines to yield.
        folder: Folder for ONNX files.

    Raises:
        UserError: The device does not exist.
    """
    if PYTORCH in names:
        yield Engine(PYTORCH, 4 * encoder.parameters / 1e6, run_with_pytorch(encoder, device))
    if ONNX not in names and INT8 not in names:
        return
    model = convert_encoder(encoder.model)
    if model is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    list(write_programs(model, folder, ("onnx",), lambda step: None))
    path = folder / "model.onnx"
    if ONNX in names:
        yield Engine(ONNX, _megabytes(folder), run_with_onnx(path))
    if INT8 in names:
        quantised = quantise(path)
        yield Engine(INT8, _megabytes(quantised.parent), run_with_onnx(quantised))


def run_with_pytorch(encoder: ComparedEncoder, device: str) -> Callable[[Array, Array], Array]:
    """Runs an encoder with PyTorch, in single precision."""
    target = find_device(device)
    model: Any = encoder.model.to(target)

    @torch.inference_mode()
    def run(ids: Array, mask: Array) -> Array:
        inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        states = model(**{name: tensor.to(target) for name, tensor in inputs.items()}).last_hidden_state
        result: Array = states.float().cpu().numpy()  # (B, n, d); waits for the device
        return result

    return run


def run_with_onnx(path: Path) -> Callable[[Array, Array], Array]:
    """Runs an ONNX file with ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # warnings are about the graph, which is checked against PyTorch
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(ids: Array, mask: Array) -> Array:
        inputs = dict(zip(MODEL_INPUTS, (ids, mask, np.zeros_like(ids)), strict=True))
        result: Array = session.run(None, inputs)[0]
        return result

    return run


def quantise(path: Path) -> Path:
    """Quantises an ONNX file to 8-bit weights, and dynamically quantised activations of matrix products.

    Returns:
        The new file, in a folder next to the original.

    Raises:
        UserError: ONNX Runtime cannot quantise the file.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    out = path.parent / "int8" / "model.onnx"
    out.parent.mkdir(exist_ok=True)
    logging.disable(logging.WARNING)  # it recommends a step that is for image models
    try:
        quantize_dynamic(path, out, weight_type=QuantType.QInt8)
    except Exception as error:  # it raises many types
        raise UserError(f"{path} cannot be quantised ({first_line(error)}); leave --int8 out") from None
    finally:
        logging.disable(logging.NOTSET)
    return out


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.glob("model.onnx*")) / 1e6
