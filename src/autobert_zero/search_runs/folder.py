"""The start files, the inputs and the history in the folder of a search."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from autobert_zero.files import write_text
from autobert_zero.minimal_pairs.data import read_pairs
from autobert_zero.run_folder import (
    SEARCH,
    Input,
    RunError,
    check_inputs,
    check_run,
    kind_of,
    started_by_this_code,
    unreadable_file_error,
)
from autobert_zero.run_folder.digests import settings_digest, text_digest
from autobert_zero.run_folder.names import BANK, SEED_BACKBONES, STUDY_FILE, TOKENIZER, snapshots_of
from autobert_zero.search.config import SearchConfig, read_search_config
from autobert_zero.search.history import ANOTHER_NAME, History, storage_of
from autobert_zero.search.settings_difference import settings_that_differ
from autobert_zero.search.strategies.pareto import COSTS
from autobert_zero.search_runs.prepare import PreparedSearch, prepare
from autobert_zero.settings import read_yaml
from autobert_zero.space import Backbone
from autobert_zero.urls import secrets_of


def read_run_start(out: Path) -> tuple[SearchConfig, list[Backbone]]:
    """Reads the config and the user's backbones of a run, to resume it.

    Settings that the version which started the run did not have are at their defaults, or off.

    Raises:
        UserError: There is no run in the folder, or it is damaged.
    """
    check_run(out, SEARCH)
    path = out / SEARCH.marker
    config = read_search_config(out)
    if config.model_dump(mode="json") != read_yaml(path) and started_by_this_code(out):
        raise unreadable_file_error(path, "a setting is missing")
    path = out / SEED_BACKBONES
    try:
        first = [Backbone.from_list(layers) for layers in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise unreadable_file_error(path, error) from None
    return config, first


def prepared_run(
    out: Path, config: SearchConfig, watch: Callable[[str, int, int], None], remote: bool = False
) -> PreparedSearch:
    """Prepares an existing run, with the tokenizer that it was started with; see `prepare`.

    Raises:
        UserError: The corpus is not the one that the run was started on, or the tokenizer is damaged.
    """
    path = out / TOKENIZER
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more special
        raise RunError(f"{path} is damaged or missing ({error}); start another run") from None
    prepared = prepare(_as_measured(config, out).absolute(), watch, tokenizer, remote)
    check_inputs(out, run_inputs(prepared, out))
    return prepared


def _as_measured(config: SearchConfig, out: Path) -> SearchConfig:
    """The config with the batch that the run in a folder measures latency with, unless it names one."""
    if config.limits.latency_batch is not None:
        return config
    limits = {"latency_batch": read_search_config(out).limits.latency_batch}
    return config.model_copy(update={"limits": config.limits.model_copy(update=limits)})


def run_inputs(
    prepared: PreparedSearch, out: Path, first: Sequence[Backbone] | None = None
) -> dict[str, Input]:
    """Inputs of a run besides the settings of its study.

    If the folder holds a run, the settings of the comparison are read from there, so that later versions with
    more settings find the same. Without the user's backbones (None), they are left out.
    """
    tokenizer = prepared.tokenizer.to_str()
    resumed = kind_of(out) is SEARCH
    written = read_yaml(out / SEARCH.marker) if resumed else prepared.config.model_dump(mode="json")
    final = settings_digest(written.get("final", {}), ("workers",))
    primitives = ", ".join(prepared.space.primitives)
    inputs = {
        "text": prepared.corpus,
        "tokenizer": Input(text_digest(tokenizer), TOKENIZER),
        "settings of the comparison": Input(final, SEARCH.marker),
        # By name too: what a set of them is called may mean more in another version.
        "primitives": Input(text_digest(primitives), primitives),
    }
    if prepared.start is not None:
        inputs["teacher"] = prepared.start.teacher.input
    if first is not None:
        name = f"{len(first)} given" if first else "none given"
        inputs["seed backbones"] = Input(text_digest(_seeds_text(first)), name)
    if (data := prepared.config.proxy.minimal_pairs.data) and prepared.config.proxy.score == "minimal_pairs":
        pairs = [(pair.good, pair.bad, pair.paradigm) for pair in read_pairs([Path(data)])]
        inputs["minimal pairs"] = Input(text_digest(json.dumps(pairs)), data)
    return inputs


def _seeds_text(first: Sequence[Backbone]) -> str:
    return json.dumps([backbone.to_list() for backbone in first])


def check_same(config: SearchConfig, first: Sequence[Backbone], out: Path) -> Sequence[Backbone]:
    """Checks that a folder holds the given run; returns the backbones that it was started with.

    Raises:
        RunError: Its config or its seed backbones are others.
    """
    known, given = read_run_start(out)
    configs = known, _as_measured(config, out)
    same, meant = (settings.absolute().model_dump(mode="json") for settings in configs)
    if config.space.narrow and known.space.narrow:  # the run has chosen its width
        meant["model"]["feed_forward"] = same["model"]["feed_forward"]
    if other := settings_that_differ(same, meant):
        raise RunError(
            f"{out} holds a search with another {', '.join(other)}; a resumed run keeps its config: choose "
            "another --out"
        )
    if first and [backbone.key() for backbone in first] != [backbone.key() for backbone in given]:
        raise RunError(
            f"{out} holds a search with other seed backbones, {len(given)} of them; give none to resume it, "
            "or choose another --out"
        )
    return given


def write_start_files(prepared: PreparedSearch, out: Path, first: Sequence[Backbone]) -> None:
    """Writes the files that `read_run_start` reads; the config, which marks the folder as a run, is last."""
    config = prepared.config
    write_text(out / TOKENIZER, prepared.tokenizer.to_str(pretty=True))
    write_text(out / SEED_BACKBONES, _seeds_text(first))
    secret = config.storage is not None and secrets_of(config.storage)
    write_text(out / SEARCH.marker, config.to_yaml(), mode=0o600 if secret else None)


def identity(prepared: PreparedSearch) -> dict[str, Any]:
    """The identity of a study: the settings that its trials depend on, and the text."""
    settings = prepared.config.model_dump(mode="json", exclude={"storage", "study", "final"})
    return settings | {"text": prepared.corpus.identity}


def history_of(
    out: Path, prepared: PreparedSearch, say: Callable[[str], None] = lambda line: None
) -> History:
    """Opens the history of a new or of an existing run.

    Raises:
        UserError: The history is missing, or belongs to another run.
    """
    config, study = prepared.config, out / STUDY_FILE
    begun = snapshots_of(out / BANK)
    if begun and config.storage is None and not (study.exists() and study.stat().st_size):
        raise RunError(f"{study} is missing or empty, the run cannot be resumed; start another")
    weighed = config.strategy.objectives if config.strategy.name == "pareto" else ()
    costs = [COSTS[name] for name in weighed if name != "score"]
    remedy = (
        f"put {out / SEARCH.marker} back as it was, or start another run"
        if kind_of(out) is SEARCH
        else ANOTHER_NAME
    )
    history = History(storage_of(out, config), config.study, identity(prepared), costs, say, remedy)
    if len(history) and not begun:
        raise RunError(
            f"the study {config.study!r} has trials, but {out} has no snapshot that belongs to them; resume "
            "the run in its own folder, or choose another name with --set study=NAME"
        )
    return history
