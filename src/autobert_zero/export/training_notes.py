"""Describes on a model's card how it was trained."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autobert_zero.export.sources import SourceModel, reading
from autobert_zero.markdown import metric_table
from autobert_zero.run_folder.names import SCORE, SUMMARY
from autobert_zero.search.summary_text import comparison_table


def check_notes(source: SourceModel, folder: Path) -> None:
    """Checks that the training of the model in a folder can be described.

    Raises:
        UserError: The file with its figures is damaged.
    """
    with reading(folder / (SUMMARY if source.score is None else SCORE)):
        training_notes(source)


def training_notes(source: SourceModel) -> list[str]:
    """Describes the training of a model in lines of Markdown."""
    summary, settings = source.summary, source.settings
    if source.score is not None:
        return _finetuned_notes(source.score)
    if summary is None:
        return ["This was exported from a saved model, which does not record how it was trained."]
    if settings is None:
        return [_pretrained_notes(summary)]
    return _distilled(summary, settings) if "teacher" in summary else _from_scratch(summary, settings)


def _pretrained_notes(summary: Mapping[str, Any]) -> str:
    """Describes a pre-training on masked tokens or with a teacher."""
    length = f"for {summary['steps']:,} steps ({summary['tokens']:,} tokens), seed {summary['seed']}."
    if "teacher" in summary:
        cosine = summary.get("holdout_cosine")
        near = "" if cosine is None else f" Mean cosine of the embeddings of held-out texts: {cosine:.4f}."
        return (
            f"Distilled from `{summary['teacher']}` {length} Distillation loss on held-out text "
            f"{summary['holdout_loss']:.4f}.{near}"
        )
    return (
        f"Pre-trained as a masked language model {length} Loss on held-out text "
        f"{summary['holdout_loss']:.4f} nats, accuracy {summary['holdout_mlm_accuracy']:.4f}."
    )


def _from_scratch(summary: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Describes the winner of a search, trained from scratch."""
    best, final, data = summary["best"], settings["final"], settings["data"]
    rate = best.get("learning_rate", final["learning_rate"])  # older runs used the config's rate
    return [
        f"Masked language modelling on the corpus `{data['corpus']}`, from scratch: {final['steps']:,} steps "
        f"of {final['batch_size']} sequences of {data['length']} tokens ({best['tokens']:,} tokens), AdamW, "
        f"peak rate {rate:g}, dropout {settings['model']['dropout']:g}, seed {summary['seed']}.",
        f"Loss on held-out text {best['val_loss']:.4f} nats, accuracy {best['mlm_accuracy']:.4f}.",
        "",
        f"The backbone is the best of {summary['candidates']} candidates of the strategy "
        f"`{settings['strategy']['name']}`, {summary['search_seconds']:.0f} s of search. Compared with other "
        "backbones trained in the same way:",
        *_compared(summary),
    ]


def _distilled(summary: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Describes the winner of a search from a model, distilled."""
    best, final = summary["best"], settings["final"]
    return [
        f"Distilled from `{summary['teacher']['model']}` on the corpus `{settings['data']['corpus']}`: "
        f"{final['steps']:,} steps of {final['batch_size']} sequences of {settings['data']['length']} tokens "
        f"({best['tokens']:,} tokens), AdamW, peak rate {best['learning_rate']:g}, seed {summary['seed']}. "
        f"Distillation loss on held-out text {best['val_loss']:.4f}.",
        "",
        f"The backbone is the best of {summary['candidates']} candidates of the strategy "
        f"`{settings['strategy']['name']}`, {summary['search_seconds']:.0f} s of search from that model. "
        "Compared with other backbones distilled in the same way:",
        *_compared(summary),
    ]


def _compared(summary: Mapping[str, Any]) -> list[str]:
    """The comparison at the end of a search and the layers of its winner."""
    layers = summary["best"]["backbone"]
    return ["", *comparison_table(summary), "", "Its layers:", "", "```", *layers, "```"]


def _finetuned_notes(score: dict[str, Any]) -> list[str]:
    """Describes the task and the scores of a fine-tuned model."""
    return [
        f"Fine-tuned on {score['task']}, peak learning rate {score['rate']:g}; these are the weights of the "
        f"best seed on the validation split. Mean over all seeds ({score['seeds']}):",
        "",
        *metric_table("mean", score["mean"]),
    ]
