"""The model card: what a model is, how it was trained, how to use it."""

from collections.abc import Mapping, Sequence
from typing import Any

from autobert_zero import cost
from autobert_zero.export.programs import Program
from autobert_zero.export.sentences import sentence_length
from autobert_zero.export.sources import Source
from autobert_zero.hf import AutoBertZeroConfig
from autobert_zero.hf.auto import MODELS
from autobert_zero.minimal_pairs.results import accuracy_table, remarks
from autobert_zero.search.outputs import comparison_table

_PIPELINES = {
    "AutoModel": "feature-extraction",
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForTokenClassification": "token-classification",
    "AutoModelForQuestionAnswering": "question-answering",
}


def model_card(
    source: Source,
    code: str,
    picture: str,
    programs: Sequence[Program],
    sentence_embeddings: str | None = None,
) -> str:
    """Writes the card in the Hub's format.

    Args:
        source: The model.
        code: Name of the modelling file.
        picture: Name of the picture of the backbone.
        programs: What was exported beside.
        sentence_embeddings: The pooling where the folder is one of sentence-transformers too.
    """
    model, config = source.model, source.model.config
    auto = next(auto.__name__ for auto, ours in MODELS.items() if type(model) is ours)
    task = "sentence-similarity" if sentence_embeddings else _PIPELINES.get(auto)
    head = [
        "---",
        f"library_name: {'sentence-transformers' if sentence_embeddings else 'transformers'}",
        "license: apache-2.0",
        "tags:",
        "- autobert-zero",
        "- neural-architecture-search",
    ]
    head += ["- sentence-transformers", "- feature-extraction"] if sentence_embeddings else []
    head += [f"pipeline_tag: {task}"] if task else []
    tokenizer = source.tokenizer is not None
    lines = [
        *head,
        "---",
        "",
        f"# {source.name}",
        "",
        "An AutoBERT-Zero encoder: each token-mixing layer is an attention with a formula of its own, or a "
        "convolution.",
        "",
        f"![The backbone, layer by layer]({picture})",
        "",
        *_sizes(config, sum(parameter.numel() for parameter in model.parameters())),
        "",
        "## Use",
        "",
        "```python",
        f"from transformers import {auto}" + (", AutoTokenizer" if tokenizer else ""),
        "",
        f'model = {auto}.from_pretrained("FOLDER_OR_NAME", trust_remote_code=True)',
        *(
            ['tokenizer = AutoTokenizer.from_pretrained("FOLDER_OR_NAME", trust_remote_code=True)']
            if tokenizer
            else []
        ),
        "```",
        "",
        f"`trust_remote_code=True` runs `{code}`, one file that needs `torch`, `transformers` 5.4 or newer "
        "and `safetensors` only. With the package `autobert-zero` installed, `import autobert_zero.hf` does "
        "the same without remote code.",
        "",
        *(_sentences(source, sentence_embeddings) if sentence_embeddings else []),
        *_files(programs),
        "## Training",
        "",
        *_training(source),
        *_minimal_pairs(source),
    ]
    return "\n".join(lines) + "\n"


def _sizes(config: AutoBertZeroConfig, parameters: int) -> list[str]:
    backbone = config.parse_backbone()
    tokens = config.max_position_embeddings
    sizes = config.encoder_config()
    rows = [
        ("layers", str(len(backbone.layers))),
        ("hidden size", str(config.hidden_size)),
        ("heads", str(config.num_attention_heads)),
        ("feed-forward", str(config.intermediate_size)),
        ("vocabulary", f"{config.vocab_size:,}"),
        ("longest sequence", f"{sizes.length_limit} tokens" if sizes.length_limit else "no limit"),
        ("parameters", f"{parameters:,}"),
        (f"encoder, forward, {tokens} tokens", f"{cost.flops(backbone, sizes, tokens) / 1e9:,.3f} GFLOPs"),
        ("key of the backbone", f"`{backbone.key()}`"),
    ]
    return ["| size | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]


def _sentences(source: Source, pooling: str) -> list[str]:
    pooled = {
        "mean": "the mean of the tokens' last hidden states",
        "cls": "the first token's last hidden state",
    }
    return [
        "With sentence-transformers 5.2 or newer:",
        "",
        "```python",
        "from sentence_transformers import SentenceTransformer",
        "",
        'model = SentenceTransformer("FOLDER_OR_NAME", trust_remote_code=True)',
        'embeddings = model.encode(["a sentence", "another one"])',
        "```",
        "",
        f"An embedding is {pooled[pooling]}. Texts are cut to {sentence_length(source)} tokens "
        "(`model.max_seq_length`).",
        "",
    ]


def _files(programs: Sequence[Program]) -> list[str]:
    if not programs:
        return []
    lines = ["## Programs", "", "| file | outputs | largest difference from PyTorch |", "|---|---|---|"]
    for program in programs:
        outputs = ", ".join(f"`{name}`" for name in program.outputs)
        lines.append(f"| `{program.file}` | {outputs} | {program.difference:.1e} |")
    shapes = ", ".join(f"{batch} x {tokens}" for batch, tokens in programs[0].shapes)
    return [
        *lines,
        "",
        "Inputs: `input_ids`, `attention_mask`, `token_type_ids`, integers (batch, tokens), any batch, any "
        f"length up to the longest. Checked at {shapes}, with padding; the difference is relative to the "
        "largest output where that is above 1. Outputs at padding are unspecified.",
        "",
    ]


def _minimal_pairs(source: Source) -> list[str]:
    results = source.minimal_pairs
    if results is None:
        return []
    return [
        "",
        "## Minimal pairs",
        "",
        "How often the model gives the grammatical sentence of a pair the higher pseudo-log-likelihood, "
        "without fine-tuning:",
        "",
        *accuracy_table(results, paradigms=False),
        "",
        " ".join(remarks(results)),
    ]


def _distilled(summary: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """What is said of the student that a search from a model found."""
    best, final = summary["best"], settings["final"]
    if best["status"] != "complete":
        return [f"Distillation {best['status']}: {best['reason']}."]
    return [
        f"Distilled from `{summary['teacher']['model']}` on the corpus `{settings['data']['corpus']}`: "
        f"{final['steps']:,} steps of {final['batch_size']} sequences of {settings['data']['length']} tokens "
        f"({best['tokens']:,} tokens), AdamW, peak rate {best['learning_rate']:g}, seed {summary['seed']}. "
        f"Distillation loss on held-out text {best['val_loss']:.4f}.",
        "",
        f"The backbone is the best of {summary['candidates']} candidates of the strategy "
        f"`{settings['strategy']['name']}`, {summary['search_seconds']:.0f} s of search from that model. "
        "Beside it, distilled alike:",
        "",
        *comparison_table(summary),
        "",
        "Its layers:",
        "",
        "```",
        *best["backbone"],
        "```",
    ]


def _training(source: Source) -> list[str]:
    summary, settings = source.summary, source.settings
    if source.score is not None:
        return _finetuning(source.score)
    if summary is not None and settings is None and "teacher" in summary:
        cosine = summary.get("holdout_cosine")
        near = "" if cosine is None else f" Mean cosine of the embeddings of held-out texts: {cosine:.4f}."
        return [
            f"Distilled from `{summary['teacher']}` for {summary['steps']:,} steps ({summary['tokens']:,} "
            f"tokens), seed {summary['seed']}. Distillation loss on held-out text "
            f"{summary['holdout_loss']:.4f}.{near}"
        ]
    if summary is not None and settings is None:
        return [
            f"Pre-trained as a masked language model for {summary['steps']:,} steps ({summary['tokens']:,} "
            f"tokens), seed {summary['seed']}. Loss on held-out text {summary['holdout_loss']:.4f} nats, "
            f"accuracy {summary['holdout_mlm_accuracy']:.4f}."
        ]
    if summary is not None and settings is not None and "teacher" in summary:
        return _distilled(summary, settings)
    if summary is None or settings is None:
        return ["This was exported from a saved model, which does not say how it was trained."]
    final = settings["final"]
    best: dict[str, Any] = summary["best"]
    if best["status"] != "complete":
        return [f"Training {best['status']}: {best['reason']}."]
    data, model = settings["data"], settings["model"]
    return [
        f"Masked language modelling on the corpus `{data['corpus']}`, from scratch: {final['steps']:,} steps "
        f"of {final['batch_size']} sequences of {data['length']} tokens ({best['tokens']:,} tokens), AdamW, "
        f"peak rate {final['learning_rate']:g}, dropout {model['dropout']:g}, seed {summary['seed']}.",
        f"Loss on held-out text {best['val_loss']:.4f} nats, accuracy {best['mlm_accuracy']:.4f}.",
        "",
        f"The backbone is the best of {summary['candidates']} candidates of the strategy "
        f"`{settings['strategy']['name']}`, {summary['search_seconds']:.0f} s of search. Beside it, trained "
        "alike:",
        "",
        *comparison_table(summary),
        "",
        "Its layers:",
        "",
        "```",
        *best["backbone"],
        "```",
    ]


def _finetuning(score: dict[str, Any]) -> list[str]:
    """Task and scores of a fine-tuned model."""
    return [
        f"Fine-tuned on {score['task']}, peak rate {score['rate']:g}; these are the weights of the best seed "
        f"on validation. Mean over the seeds ({score['seeds']}):",
        "",
        "| split | metric | mean |",
        "|---|---|---|",
        *(
            f"| {split} | {metric} | {value:.4f} |"
            for split, metrics in score["mean"].items()
            for metric, value in metrics.items()
        ),
    ]
