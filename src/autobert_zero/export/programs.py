"""Programs that run a model without its Python code (`torch.export` and ONNX), checked against the model."""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from autobert_zero.errors import UserError
from autobert_zero.extras import require
from autobert_zero.hf import AutoBertZeroConfig, AutoBertZeroForMultipleChoice, AutoBertZeroPreTrainedModel

MODEL_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
TOLERANCE = 1e-4
"""Maximum difference of outputs, relative to the largest output if that is above 1."""

_CHOICES = 3

_Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]


@dataclass(frozen=True)
class Program:
    """A program that was written and checked.

    Attributes:
        file: Name of its file.
        outputs: Names of its outputs, in order.
        difference: The largest difference from PyTorch's outputs at real tokens, over all shapes.
        shapes: The shapes (batch, tokens) that it was checked with.
    """

    file: str
    outputs: tuple[str, ...]
    difference: float
    shapes: tuple[tuple[int, int], ...]


class _Positional(nn.Module):
    """The model with positional tensors as inputs and a tuple as output."""

    def __init__(self, model: AutoBertZeroPreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> tuple[Tensor, ...]:
        return self.model(input_ids, attention_mask, token_type_ids, return_dict=True).to_tuple()


def write_programs(
    model: AutoBertZeroPreTrainedModel, folder: Path, formats: Sequence[str], watch: Callable[[str], None]
) -> Iterator[Program]:
    """Writes `model.pt2` and `model.onnx`, for any batch and any length.

    Args:
        model: A model in any precision; the programs are in single precision.
        folder: Folder to write to.
        formats: The programs to write: `torch`, `onnx`.
        watch: Called with the name of each step.

    Raises:
        UserError: The ONNX packages are missing, or a program computes something other than the model.
    """
    if not formats:
        return
    model = copy.deepcopy(model).float().cpu().eval()
    wrapped = _Positional(model).eval()
    limit = model.config.encoder_config().length_limit
    # Without a limit, the programs are checked beyond the length of the training.
    longest = limit or 4 * model.config.max_position_embeddings
    choices = isinstance(model, AutoBertZeroForMultipleChoice)
    names = dict(enumerate(("batch", "choices", "tokens") if choices else ("batch", "tokens")))
    if limit == 1:  # torch.export refuses a dimension with a single possible size
        names.popitem()
    bounds = {"tokens": limit}
    axes = {axis: torch.export.Dim(name, min=1, max=bounds.get(name)) for axis, name in names.items()}
    shapes = ((1, 1), (1, longest), (2, min(longest, 7)), (3, longest // 2 + 1), (5, longest))
    batches = [_batch(model.config, batch, tokens, choices) for batch, tokens in shapes]
    with torch.no_grad():
        outputs = tuple(model(*batches[0], return_dict=True).keys())
        # torch.export takes sizes of 0 and 1 for constants.
        sample = tuple(_batch(model.config, 2, min(longest, 7), choices))
        program = torch.export.export(wrapped, sample, dynamic_shapes=dict.fromkeys(MODEL_INPUTS, axes))
        for name in formats:
            watch(f"{name} program")
            file, write = _WRITERS[name]
            run = write(program, folder / file, outputs, names)
            yield Program(file, outputs, _largest_difference(file, wrapped, run, batches), shapes)


def require_onnx() -> None:
    """Raises a `UserError` if a package that ONNX needs is missing."""
    without = ", or leave it out with --no-onnx"
    require("ONNX", "export", "onnx", "onnxruntime", "onnxscript", otherwise=without)


def _write_torch(
    program: torch.export.ExportedProgram, path: Path, outputs: Sequence[str], axes: dict[int, str]
) -> _Run:
    """Writes the program as PyTorch's archive and loads it."""
    torch.export.save(program, path)
    loaded = torch.export.load(path).module()
    return lambda batch: loaded(*batch)


def _write_onnx(
    program: torch.export.ExportedProgram, path: Path, outputs: Sequence[str], axes: dict[int, str]
) -> _Run:
    """Writes the program as ONNX and loads it."""
    import onnxruntime

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it reports packages that we do not need
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own code
        written = torch.onnx.export(
            program,
            input_names=list(MODEL_INPUTS),
            output_names=list(outputs),
            dynamic_shapes=dict.fromkeys(MODEL_INPUTS, axes),
            dynamo=True,
            verbose=False,
        )
    assert written is not None
    written.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(batch: Sequence[Tensor]) -> Sequence[Tensor]:
        arrays = session.run(None, dict(zip(MODEL_INPUTS, [tensor.numpy() for tensor in batch], strict=True)))
        return [torch.from_numpy(array) for array in arrays]

    return run


_WRITERS = {"torch": ("model.pt2", _write_torch), "onnx": ("model.onnx", _write_onnx)}


def _largest_difference(file: str, model: nn.Module, run: _Run, batches: Sequence[Sequence[Tensor]]) -> float:
    """The largest difference at real tokens; raises a `UserError` if it exceeds the tolerance."""
    worst = 0.0
    for batch in batches:
        mask = batch[1].bool()
        for expected, actual in zip(model(*batch), run(batch), strict=True):
            if expected.shape[: mask.ndim] == mask.shape:  # one output per token
                expected, actual = expected[mask], actual[mask]
            difference = (expected - actual).abs().max().item() / max(1.0, expected.abs().max().item())
            if not difference <= TOLERANCE:  # true for NaN too
                raise UserError(
                    f"{file} differs from the model by {difference:.1e} at {tuple(mask.shape)}, more "
                    f"than {TOLERANCE:.0e}; it was not exported"
                )
            worst = max(worst, difference)
    return worst


def _batch(config: AutoBertZeroConfig, batch: int, tokens: int, choices: bool) -> list[Tensor]:
    """Random ids, a mask with padding in the last sequence, and segments."""
    shape = (batch, _CHOICES, tokens) if choices else (batch, tokens)
    random = torch.Generator().manual_seed(batch * 1000 + tokens)
    ids = torch.randint(config.vocab_size, shape, generator=random)
    mask = torch.ones_like(ids)
    mask[-1, ..., tokens // 2 + 1 :] = 0
    return [ids, mask, torch.randint(config.type_vocab_size, shape, generator=random)]
