"""Accuracies on minimal pairs, by paradigm, phenomenon and field; as a table and as plain data."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from autobert_zero.errors import UserError
from autobert_zero.files import write_text
from autobert_zero.markdown import table
from autobert_zero.out_file import resolve_link, writing
from autobert_zero.run_folder.digests import weights_digest
from autobert_zero.run_folder.names import MINIMAL_PAIRS

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Accuracy:
    """The accuracy on a group of pairs.

    Attributes:
        pairs: Number of pairs.
        correct: Number of pairs whose good sentence has the higher score.
        ties: Number of pairs whose sentences have the same score; they are not correct.
    """

    pairs: int
    correct: int
    ties: int

    @property
    def share(self) -> float:
        """The accuracy, from 0 to 1."""
        return self.correct / self.pairs

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson score interval, which accounts for the choice of the pairs only."""
        from scipy.stats import binomtest

        bounds = binomtest(self.correct, self.pairs).proportion_ci(_CONFIDENCE, method="wilson")
        return float(bounds.low), float(bounds.high)

    def to_dict(self) -> dict[str, Any]:
        """The accuracy as plain data."""
        return {
            "accuracy": self.share,
            "interval": list(self.interval),
            "pairs": self.pairs,
            "correct": self.correct,
            "ties": self.ties,
        }


@dataclass(frozen=True)
class ScoredPair:
    """A pair with its two scores.

    Attributes:
        paradigm: See `data.Pair`.
        phenomenon: See `data.Pair`.
        field: See `data.Pair`.
        good: Score of the grammatical sentence.
        bad: Score of the ungrammatical sentence.
        identical: Whether both have the same tokens, so that no model can tell them apart.
        unknown: Whether one of them has a token that is unknown to the tokenizer.
    """

    paradigm: str
    phenomenon: str | None
    field: str | None
    good: float
    bad: float
    identical: bool = False
    unknown: bool = False


@dataclass(frozen=True)
class Results:
    """The results of a model on minimal pairs.

    Attributes:
        method: `PLL` or `PLL-word-l2r`.
        pairs: The pairs with their scores.
        unknown_share: Share of the scored tokens that are unknown to the tokenizer.
    """

    method: str
    pairs: tuple[ScoredPair, ...]
    unknown_share: float

    @property
    def overall(self) -> Accuracy:
        """The accuracy over all pairs."""
        return accuracy(self.pairs)

    def by(self, group: str) -> dict[str, Accuracy]:
        """The accuracy of each `paradigm`, `phenomenon` or `field`, by name; leaves out pairs without one."""
        members: dict[str, list[ScoredPair]] = {}
        for pair in self.pairs:
            name = getattr(pair, group)
            if name is not None:
                members.setdefault(name, []).append(pair)
        return {name: accuracy(members[name]) for name in sorted(members)}

    def to_dict(self, per_pair: bool = False) -> dict[str, Any]:
        """The results as plain data.

        Args:
            per_pair: Whether to include the scores of every pair, in the order of the files.
        """
        paradigms = self.by("paradigm")
        kinds = {pair.paradigm: (pair.phenomenon, pair.field) for pair in self.pairs}
        data: dict[str, Any] = {
            "method": self.method,
            "overall": self.overall.to_dict(),
            "mean_of_paradigms": fmean(result.share for result in paradigms.values()),
            "identical_pairs": sum(pair.identical for pair in self.pairs),
            "unknown_share": self.unknown_share,
            "pairs_with_unknown": sum(pair.unknown for pair in self.pairs),
            "fields": {name: result.to_dict() for name, result in self.by("field").items()},
            "phenomena": {name: result.to_dict() for name, result in self.by("phenomenon").items()},
            "paradigms": {
                name: {"phenomenon": kinds[name][0], "field": kinds[name][1], **result.to_dict()}
                for name, result in paradigms.items()
            },
        }
        if per_pair:
            data["pairs"] = [{"paradigm": p.paradigm, "good": p.good, "bad": p.bad} for p in self.pairs]
        return data


def accuracy(pairs: Iterable[ScoredPair]) -> Accuracy:
    """The accuracy on pairs; a tie is not correct."""
    scores = [(pair.good, pair.bad) for pair in pairs]
    return Accuracy(
        pairs=len(scores),
        correct=sum(good > bad for good, bad in scores),
        ties=sum(good == bad for good, bad in scores),
    )


def accuracy_table(results: Mapping[str, Any], paradigms: bool = True) -> list[str]:
    """Formats plain results as a Markdown table in percentage points, with all pairs in the last row.

    Args:
        results: Results from `Results.plain` or `read_results`.
        paradigms: Whether to include a row for each paradigm.
    """
    rows = []
    groups = [("phenomenon ", results["phenomena"]), ("field ", results["fields"])]
    if paradigms:
        by_phenomenon = sorted(
            results["paradigms"].items(), key=lambda item: (item[1]["phenomenon"] or "", item[0])
        )
        groups.insert(0, ("", dict(by_phenomenon)))
    for kind, group in groups:
        rows += [_row(f"{kind}{name}", values) for name, values in group.items()]
    header = ["pairs", "accuracy", "95 % interval", "number", "ties"]
    return table(header, [*rows, _row("all", results["overall"])])


def remarks(results: Mapping[str, Any]) -> list[str]:
    """Remarks on the figures, one sentence each."""
    overall = results["overall"]
    lines = [
        f"Score: {results['method']}. The 95 % Wilson intervals account for the choice of the pairs, not for "
        "other seeds or trainings."
    ]
    if ties := overall["ties"]:
        counted = "1 tie is" if ties == 1 else f"{ties:,} ties are"
        lines.append(
            f"{counted} counted as wrong; in {results['identical_pairs']:,} of them both sentences have the "
            "same tokens."
        )
    if results["pairs_with_unknown"]:
        lines.append(
            f"{results['unknown_share']:.2%} of the tokens are unknown to the tokenizer; they occur in "
            f"{results['pairs_with_unknown']:,} of the pairs."
        )
    return lines


def write_results(path: Path, results: Mapping[str, Any]) -> None:
    """Writes plain results as JSON.

    Raises:
        UserError: The file cannot be written.
    """
    with writing(path):
        write_text(resolve_link(path), json.dumps(results, indent=1) + "\n")


def read_results(folder: Path) -> dict[str, Any] | None:
    """The plain results next to a model or a run; None if there are none.

    Raises:
        UserError: The file is damaged, or belongs to other weights than those next to it.
    """
    path = folder / MINIMAL_PAIRS
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        accuracy_table(results)
        remarks(results)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error!r}); measure again, or delete it") from None
    measured = results.get("weights")  # earlier versions did not record the digest
    if measured is not None and measured != weights_digest(folder):
        raise UserError(f"{path} belongs to other weights than those next to it; measure again, or delete it")
    return results


def _row(name: str, values: Mapping[str, Any]) -> list[str]:
    low, high = (f"{100 * bound:.1f}" for bound in values["interval"])
    share = f"{100 * values['accuracy']:.1f}"
    return [name, share, f"{low} to {high}", f"{values['pairs']:,}", f"{values['ties']:,}"]
