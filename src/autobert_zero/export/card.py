"""The model card: what a model is, how it was trained, how to use it."""

from collections.abc import Sequence

from autobert_zero import cost
from autobert_zero.export.programs import Program
from autobert_zero.export.sentences import sentence_length
from autobert_zero.export.sources import SourceModel
from autobert_zero.export.training_notes import training_notes
from autobert_zero.hf import AutoBertZeroConfig
from autobert_zero.hf.auto import MODELS, PIPELINES
from autobert_zero.markdown import table
from autobert_zero.minimal_pairs.results import accuracy_table, remarks


def model_card(
    source: SourceModel,
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
        programs: The programs in the folder.
        sentence_embeddings: Pooling of the folder as a sentence-transformers model; None if it is not one.
    """
    model, config = source.model, source.model.config
    auto = next(auto.__name__ for auto, model_class in MODELS.items() if type(model) is model_class)
    task = "sentence-similarity" if sentence_embeddings else PIPELINES.get(auto)
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
        "An AutoBERT-Zero encoder: each token-mixing layer is either an attention layer with its own formula "
        "or a convolution.",
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
        f"`trust_remote_code=True` runs `{code}`, a single file that needs only `torch`, `transformers` 5.4 "
        "or newer and `safetensors`. If the package `autobert-zero` is installed, `import autobert_zero.hf` "
        "makes the model load without remote code.",
        "",
        *(_sentences_section(source, sentence_embeddings) if sentence_embeddings else []),
        *_files_section(programs),
        "## Training",
        "",
        *training_notes(source),
        *_minimal_pairs_section(source),
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
        (f"forward pass, {tokens} tokens", f"{cost.flops(backbone, sizes, tokens) / 1e9:,.3f} GFLOPs"),
        ("backbone key", f"`{backbone.key()}`"),
    ]
    return table(["size", ""], rows)


def _sentences_section(source: SourceModel, pooling: str) -> list[str]:
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


def _files_section(programs: Sequence[Program]) -> list[str]:
    if not programs:
        return []
    rows = [
        [f"`{program.file}`", ", ".join(f"`{name}`" for name in program.outputs), f"{program.difference:.1e}"]
        for program in programs
    ]
    shapes = ", ".join(f"{batch} x {tokens}" for batch, tokens in programs[0].shapes)
    return [
        *("## Programs", ""),
        *table(["file", "outputs", "largest difference from PyTorch"], rows),
        "",
        "Inputs: `input_ids`, `attention_mask` and `token_type_ids`, integers of shape (batch, tokens), with "
        f"any batch size and any supported length. Checked at {shapes}, with padding; the difference is "
        "relative to the largest output if that is above 1. Outputs at padding are unspecified.",
        "",
    ]


def _minimal_pairs_section(source: SourceModel) -> list[str]:
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
