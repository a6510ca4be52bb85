"""Writes the folder of an exported model."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from autobert_zero.errors import UserError
from autobert_zero.export.card import model_card
from autobert_zero.export.programs import Program, require_onnx, write_programs
from autobert_zero.export.sentences import check_sentence_embeddings, write_sentence_embeddings
from autobert_zero.export.sources import SourceModel, open_source
from autobert_zero.export.training_notes import check_notes
from autobert_zero.files import folder_written_whole
from autobert_zero.hf.code import AUTO_MAP, CODE
from autobert_zero.minimal_pairs.results import write_results
from autobert_zero.report.draw import write as write_picture
from autobert_zero.run_folder.digests import weights_digest
from autobert_zero.run_folder.names import MINIMAL_PAIRS, MODEL_CARD

_PICTURE = "backbone.png"
_PARTIAL = ".exported"

PROGRAM_FORMATS = ("torch", "onnx")
"""Programs that can be written along with the model."""


def export(
    source: Path,
    out: Path,
    programs: tuple[str, ...] = PROGRAM_FORMATS,
    watch: Callable[[str], None] = lambda step: None,
    sentence_embeddings: str | None = None,
) -> list[Program]:
    """Writes a model so that it can be used without this package.

    The folder loads with `trust_remote_code=True`: safetensors, one flat modelling file, the tokenizer, a
    model card with the backbone drawn, and the programs.

    Args:
        source: A finished run, or a folder of `save_pretrained`.
        out: A folder that does not exist or is empty; it appears once everything is written.
        programs: The programs to write, names from `PROGRAM_FORMATS`.
        watch: Called with the name of each step.
        sentence_embeddings: Pooling (`mean` or `cls`) with which sentence-transformers is to load the folder
            too; None leaves its files out.

    Returns:
        The programs, with their differences from PyTorch.

    Raises:
        UserError: The source or the folder cannot be used, a package is missing, or a program is not exact.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} holds other files already; choose another folder")
    if "onnx" in programs:
        require_onnx()
    opened = open_source(source)
    check_notes(opened, source)
    if sentence_embeddings is not None:
        check_sentence_embeddings(opened, sentence_embeddings)
    out = out.resolve()
    # An empty folder may be a mount, which can be neither removed nor replaced, so it is filled.
    target = out / _PARTIAL if out.exists() else out
    with ExitStack() as stack:
        try:
            partial = stack.enter_context(folder_written_whole(target))
        except OSError as error:
            raise UserError(f"{out} cannot be made: {error.strerror}; choose another folder") from None
        watch("weights and code")
        _write_model(opened, partial)
        (partial / "backbone.txt").write_text(f"{opened.model.config.parse_backbone()}\n", encoding="utf-8")
        write_picture(opened.model.config.parse_backbone(), partial / _PICTURE)
        written = list(write_programs(opened.model, partial, programs, watch))
        if sentence_embeddings is not None:
            write_sentence_embeddings(opened, partial, sentence_embeddings)
        card = model_card(opened, f"{CODE}.py", _PICTURE, written, sentence_embeddings)
        (partial / MODEL_CARD).write_text(card, encoding="utf-8")
        if opened.minimal_pairs is not None:
            results = {**opened.minimal_pairs, "weights": weights_digest(partial)}
            write_results(partial / MINIMAL_PAIRS, results)
        if out.exists() and list(out.iterdir()) != [partial]:
            raise UserError(f"{out} was filled by another program; choose another folder")
    if target != out:
        for path in target.iterdir():
            path.replace(out / path.name)
        target.rmdir()
    return written


def _write_model(source: SourceModel, folder: Path) -> None:
    model = source.model
    model.config.auto_map = AUTO_MAP
    # Programs return single tensors, and `transformers` saves no config that asks for maps.
    model.config.output_hidden_states = model.config.output_attentions = False
    model.save_pretrained(folder)
    if source.tokenizer is not None:
        source.tokenizer.save_pretrained(folder)
