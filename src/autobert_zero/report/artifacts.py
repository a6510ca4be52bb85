"""Pictures of the best candidates as artifacts of the Optuna study, where optuna-dashboard shows them."""

import shlex
import tempfile
from io import BytesIO
from pathlib import Path

import optuna
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact

from autobert_zero.report.draw import svg
from autobert_zero.run_folder.names import ARTIFACTS, SEARCH, STUDY_FILE
from autobert_zero.search.config import SearchConfig, read_search_config
from autobert_zero.search.history import dashboard_url, read_trials, storage_of
from autobert_zero.search.ranking import ranked
from autobert_zero.search.storage import open_storage

_BEST = 10
"""Number of candidates that get a picture by default."""


def attach_pictures(run: Path, count: int = _BEST) -> int:
    """Draws the best candidates of a run and attaches the pictures to its study, each once.

    Optuna takes no artifacts for finished trials, and ours are finished when they are recorded: the name of
    a picture gives the number of its candidate.

    Args:
        run: Folder of a run, finished or not.
        count: Number of candidates, the best by their newest scores.

    Returns:
        The number of new pictures. They are in `artifacts` of the run.

    Raises:
        UserError: There is no run in the folder, or its study is damaged.
    """
    config = _study_config(run)
    storage = storage_of(run, config)
    best = ranked(read_trials(storage, config.study))[:count]
    study = optuna.load_study(study_name=config.study, storage=open_storage(storage))
    known = {artifact.filename: artifact.artifact_id for artifact in get_all_artifact_meta(study)}
    wanted = {f"candidate-{trial.proposal.number}.svg": trial.proposal.backbone for trial in best}
    folder = run / ARTIFACTS
    folder.mkdir(exist_ok=True)
    store, new = FileSystemArtifactStore(folder), 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, backbone in wanted.items():
            if name in known and (folder / known[name]).exists():
                continue
            picture = svg(backbone).encode()
            if name in known:  # killed after the study's note and before the file
                store.write(known[name], BytesIO(picture))
            else:
                path = Path(scratch) / name
                path.write_bytes(picture)
                upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=study)
            new += 1
    return new


def dashboard(run: Path) -> str:
    """The command that shows a run with its pictures."""
    storage = dashboard_url(storage_of(run, _study_config(run)))
    return shlex.join(["optuna-dashboard", storage, "--artifact-dir", str(run / ARTIFACTS)])


def _study_config(run: Path) -> SearchConfig:
    if not (run / SEARCH.marker).exists() and (run / STUDY_FILE).exists():
        return SearchConfig()  # the history alone is enough for pictures
    return read_search_config(run)
