"""Reads folders of pre-trainings for their report: finished, unfinished or damaged."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autobert_zero.errors import UserError, counted
from autobert_zero.minimal_pairs.results import remarks
from autobert_zero.pretrain.config import PretrainConfig
from autobert_zero.pretrain.folder import check_figures, read_pretrain_config
from autobert_zero.report.fine_tunings import FineTuning, fine_tunings
from autobert_zero.report.reading import reported_pairs, reported_start, reported_summary
from autobert_zero.run_folder import PRETRAINING, kind_of
from autobert_zero.run_folder.names import METRICS_LOG, RECORD
from autobert_zero.settings import computing_settings
from autobert_zero.space import Backbone
from autobert_zero.urls import hide_passwords

_Figures = Mapping[str, float]


@dataclass(frozen=True)
class Pretraining:
    """The readable part of a pre-training.

    Attributes:
        name: Name of the run on the page.
        figures: The lines of the log.
        summary: The summary; None while the training is not finished.
        backbone: The backbone; None if neither config nor summary names it.
        planned: Steps of all phases; 0 if the config is missing.
        text: Digest of the text; empty if it was not recorded.
        vocabulary: Digest of the vocabulary; empty likewise.
        goal: What was learned; empty if it is not known.
        corpus: Name of the text.
        config: The config as YAML; empty if it is missing.
        commands: The commands that started and continued the training.
        versions: Packages and code that started the training, in words.
        fine_tunings: Results of fine-tunings next to the folder.
        minimal_pairs: Results on minimal pairs; None if they were not measured.
        missing: One sentence for each file that could not be read, with what the page lacks.
    """

    name: str
    figures: Sequence[_Figures] = ()
    summary: Mapping[str, Any] | None = None
    backbone: Backbone | None = None
    planned: int = 0
    text: str = ""
    vocabulary: str = ""
    goal: str = ""
    corpus: str = ""
    config: str = ""
    commands: Sequence[str] = ()
    versions: str = ""
    fine_tunings: Sequence[FineTuning] = ()
    minimal_pairs: Mapping[str, Any] | None = None
    missing: Sequence[str] = field(default_factory=tuple)

    @property
    def steps(self) -> int:
        """The last step in the log."""
        return int(max((row["step"] for row in self.figures), default=0))

    @property
    def remarks(self) -> list[str]:
        """Remarks on the results on minimal pairs."""
        return remarks(self.minimal_pairs) if self.minimal_pairs else []

    @property
    def verdict(self) -> str:
        """The outcome of the training in a sentence."""
        if self.summary is None:
            planned = f" of {self.planned:,}" if self.planned else ""
            return f"Not finished: {self.steps:,}{planned} steps are logged."
        return (
            f"{self.name} has a held-out loss of {self.summary['holdout_loss']:.4f} after "
            f"{self.summary['tokens']:,} tokens."
        )


def read_pretraining(folder: Path) -> Pretraining:
    """Reads what there is of a pre-training."""
    missing: list[str] = []
    config = _pretrain_config(folder, missing)
    summary = reported_summary(
        folder,
        check_figures,
        "the training is not finished",
        "the figures at the end are not known",
        missing,
    )
    record = reported_start(folder, "how the training was started is not known", missing)
    if record is None and not (folder / RECORD).exists():
        missing.append("How the training was started was not recorded.")
    start = record.sessions[0] if record else {}
    versions = ", ".join(f"{name} {version}" for name, version in start.get("versions", {}).items())
    commit = f"; commit {start['commit'][:12]}" if start.get("commit") else ""
    identities = {what: recorded.identity for what, recorded in record.inputs.items()} if record else {}
    corpus = "" if config is None else config.data.corpus
    text = identities.get("text", "")
    return Pretraining(
        name=folder.resolve().name,
        figures=_figures(folder, missing),
        summary=summary,
        backbone=_backbone((summary or {}).get("backbone") or (config and config.backbone)),
        planned=config.steps if config else 0,
        text=text,
        vocabulary=identities.get("vocabulary", ""),
        goal=_goal(config, identities.get("teacher")) if config else "",
        corpus=(corpus if isinstance(corpus, str) else ", ".join(corpus))
        + (f" (digest {text[:12]})" if text else ""),
        config=_config_text(folder),
        commands=[session["command"] for session in record.sessions if session["command"]] if record else (),
        versions=versions + commit,
        fine_tunings=fine_tunings(folder),
        minimal_pairs=reported_pairs(folder, missing),
        missing=tuple(missing),
    )


def comparable(runs: Sequence[Pretraining]) -> str:
    """Says whether the losses of several trainings can be compared; empty for a single training."""
    if len(runs) == 1:
        return ""
    if not all(run.text and run.vocabulary and run.goal for run in runs):
        return "Whether all were trained on the same text and vocabulary, for the same goal, is not known."
    if len({(run.text, run.vocabulary, run.goal) for run in runs}) > 1:
        return (
            "Losses cannot be compared: the trainings differ in their text, vocabulary or goal (the masking, "
            "the teacher or the weights of its losses)."
        )
    return "All have the same text, vocabulary and goal, so their losses can be compared."


def _pretrain_config(folder: Path, missing: list[str]) -> PretrainConfig | None:
    try:
        return read_pretrain_config(folder)
    except UserError as error:
        missing.append(f"The config cannot be read ({error}).")
        return None


def _config_text(folder: Path) -> str:
    try:
        return hide_passwords((folder / PRETRAINING.marker).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""


def _goal(config: PretrainConfig, teacher: str | None) -> str:
    """A key of the goal, equal if losses can be compared; empty if the teacher's weights are not known."""
    if config.distil is None:
        return f"masked tokens, {config.data.whole_words=}, {config.data.next_sentence=}"
    losses = config.distil.model_dump(exclude={"teacher", *computing_settings(type(config.distil))})
    return f"{teacher}: {losses}" if teacher else ""


def _figures(folder: Path, missing: list[str]) -> list[_Figures]:
    """The log, without lines that a kill truncated and values that are no finite numbers."""
    try:
        lines = (folder / METRICS_LOG).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        missing.append(f"{METRICS_LOG} cannot be read: there are no curves.")
        return []
    figures = []
    for line in lines:
        try:
            values = json.loads(line)
            figures.append(_finite({**values, "step": float(values["step"])}))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    if len(figures) < len(lines):
        count = len(lines) - len(figures)
        missing.append(f"{METRICS_LOG} has {counted(count, 'damaged line')}, left out here.")
    return figures


def _finite(values: Mapping[str, Any]) -> _Figures:
    return {
        key: value for key, value in values.items() if isinstance(value, int | float) and math.isfinite(value)
    }


def _backbone(layers: Any) -> Backbone | None:
    try:
        return Backbone.from_list(layers) if layers else None
    except (UserError, ValueError, TypeError):
        return None


def pretrainings(folders: Sequence[Path]) -> list[Pretraining] | None:
    """The pre-trainings in folders; None if no folder holds one.

    Raises:
        UserError: Some folders hold one and others do not.
    """
    kinds = [kind_of(folder) for folder in folders]
    if PRETRAINING not in kinds:
        return None
    for folder, kind in zip(folders, kinds, strict=True):
        if kind is not PRETRAINING:
            raise UserError(
                f"{folder} holds no pre-training, but others of these folders do; a report shows either "
                "searches or pre-trainings"
            )
    return [read_pretraining(folder) for folder in folders]
