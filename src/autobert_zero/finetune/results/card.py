"""The model card of a fine-tuned model, in the Hub's format."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from transformers import PreTrainedConfig
from yaml import YAMLError

from autobert_zero.errors import counted
from autobert_zero.finetune.config import FinetuneConfig
from autobert_zero.finetune.models import Pretrained
from autobert_zero.hf import AutoBertZeroConfig
from autobert_zero.hf.auto import PIPELINES
from autobert_zero.markdown import metric_table
from autobert_zero.run_folder.names import MODEL_CARD

_IN_TRANSFORMERS = {"text-classification", "token-classification"}
"""Those of `PIPELINES` that `transformers` has too."""


@dataclass(frozen=True)
class Tuned:
    """A fine-tuning as the card describes it.

    Attributes:
        name: Name of the model.
        task: Name of the task.
        dataset: Name of its data on the Hub; None for local files.
        seed: Seed of these weights.
        rate: Learning rate of these weights.
        metrics: Metrics of these weights, by split, then by metric.
        table: Scores over all seeds, as Markdown.
        train_examples: Number of training features.
    """

    name: str
    task: str
    dataset: str | None
    seed: int
    rate: float
    metrics: Mapping[str, Mapping[str, float]]
    table: str
    train_examples: int


def finetuned_model_card(
    tuned: Tuned, base: Pretrained, config: PreTrainedConfig, settings: FinetuneConfig
) -> str:
    """Writes the card.

    Args:
        tuned: Task and scores.
        base: The model that was fine-tuned.
        config: Config of the fine-tuned model.
        settings: Settings of the fine-tuning.
    """
    local = Path(base.source).exists()
    base_name = Path(base.source).resolve().name if local else base.source
    is_own = isinstance(config, AutoBertZeroConfig)
    kind = (config.architectures or [""])[0]
    auto = f"AutoModel{kind[kind.find('For') :]}" if "For" in kind else "AutoModel"
    pipeline = PIPELINES.get(auto)
    results = [
        EvalResult(
            task_type=pipeline or "other",
            dataset_type=tuned.dataset or tuned.task,
            dataset_name=tuned.task,
            dataset_split=split,
            metric_type=metric,
            metric_value=round(value, 4),
        )
        for split, metrics in tuned.metrics.items()
        for metric, value in metrics.items()
    ]
    data = ModelCardData(
        model_name=tuned.name,
        base_model=None if local else base.source,
        datasets=None if tuned.dataset is None else [tuned.dataset],
        eval_results=results,
        library_name="transformers",
        license=_license(base),
        pipeline_tag=pipeline,
        tags=["autobert-zero"] if is_own else None,
    )
    labels = ", ".join(config.id2label[number] for number in sorted(config.id2label or {}))
    lines = [
        "---",
        data.to_yaml(),
        "---",
        "",
        f"# {tuned.name}",
        "",
        f"`{base_name}`, fine-tuned on {tuned.task}"
        + (f" (`{tuned.dataset}`)" if tuned.dataset else "")
        + f" with {counted(tuned.train_examples, 'training example')} of at most {settings.length} tokens.",
        "",
        "## Scores",
        "",
        "These weights (the best of all seeds on the first validation split):",
        "",
        *metric_table("value", tuned.metrics),
        "",
        "All seeds, in points:",
        "",
        tuned.table,
        "",
        "## Use",
        "",
        "```bash",
        "autobert-zero predict --model FOLDER texts.txt",
        "```",
        "",
        *_program(auto, pipeline, is_own),
    ]
    if kind.endswith("ForSequenceClassification") and config.problem_type != "regression":
        lines += [f"Labels, in the order of the logits: {labels}.", ""]
    lines += ["## Training", "", f"AdamW, peak rate {tuned.rate:g}, seed {tuned.seed}.", "", "```yaml"]
    lines += [settings.to_yaml().rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _program(auto: str, pipeline: str | None, is_own: bool) -> list[str]:
    """Example code that uses the model."""
    register = (
        ["", "import autobert_zero.hf  # the Auto classes know the model from here on"] if is_own else []
    )
    if pipeline in _IN_TRANSFORMERS:
        first = "from transformers import pipeline"
        call = [f'model = pipeline("{pipeline}", "FOLDER", truncation=True)', 'print(model("A text."))']
        if pipeline == "token-classification":
            call[0] = f'model = pipeline("{pipeline}", "FOLDER")'
    else:
        first = f"from transformers import {auto}, AutoTokenizer"
        call = [
            f'model = {auto}.from_pretrained("FOLDER")',
            'tokenizer = AutoTokenizer.from_pretrained("FOLDER")',
        ]
    return ["```python", first, *register, "", *call, "```", ""]


def _license(base: Pretrained) -> str | None:
    """The licence in the base model's card; without one ours, if the model is ours."""
    card = Path(base.source) / MODEL_CARD
    stated = None
    if card.is_file():
        with suppress(ValueError, YAMLError):  # a README that is no card states none
            stated = ModelCard.load(card, ignore_metadata_errors=True).data.license
    if stated is None and isinstance(base.config, AutoBertZeroConfig):
        return "apache-2.0"
    return stated if isinstance(stated, str) else None
