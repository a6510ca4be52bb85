"""Pictures of the best candidates as artifacts of the Optuna study, where optuna-dashboard shows them."""

import tempfile
from pathlib import Path

import optuna
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact

from autobert_zero.config import SearchConfig, read_yaml, resolve
from autobert_zero.errors import UserError
from autobert_zero.report.draw import svg
from autobert_zero.search.history import STUDY_FILE, History, ranked, storage_of

FOLDER = "artifacts"


def attach_pictures(run: Path, count: int) -> int:
    """Draws the best candidates of a run and attaches the pictures to its study, each once.

    Optuna takes no artifacts for a trial that has ended, and ours have when they are recorded: the name of
    a picture says which candidate it shows.

    Args:
        run: The folder of a run; it may still go on.
        count: How many candidates, by their newest score.

    Returns:
        How many pictures are new. They are in `artifacts` of the run.

    Raises:
        UserError: There is no run in the folder, or its study is damaged.
    """
    config = _config(run)
    storage = storage_of(run, config)
    best = ranked(History(storage, config.study).load())[:count]
    study = optuna.load_study(study_name=config.study, storage=storage)
    known = {each.filename for each in get_all_artifact_meta(study)}
    wanted = {f"candidate-{trial.proposal.number}.svg": trial.proposal.backbone for trial in best}
    new = {name: backbone for name, backbone in wanted.items() if name not in known}
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    store = FileSystemArtifactStore(folder)
    with tempfile.TemporaryDirectory() as scratch:
        for name, backbone in new.items():
            picture = Path(scratch) / name
            picture.write_text(svg(backbone), encoding="utf-8")
            upload_artifact(artifact_store=store, file_path=str(picture), study_or_trial=study)
    return len(new)


def dashboard(run: Path) -> str:
    """The command that shows a run with its pictures."""
    return f"optuna-dashboard {storage_of(run, _config(run))} --artifact-dir {run / FOLDER}"


def _config(run: Path) -> SearchConfig:
    path = run / "config.yaml"
    if not path.exists():
        if (run / STUDY_FILE).exists():
            return SearchConfig()  # a history alone can be drawn
        raise UserError(f"{run} holds no run (no {path.name})")
    return resolve(SearchConfig(), read_yaml(path))
