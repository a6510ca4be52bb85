"""Snapshots of the shared weights, one after every batch of candidates."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file
from torch import Tensor

from autobert_zero.errors import UserError
from autobert_zero.files import written_whole
from autobert_zero.nn import NoSharing, WeightBank
from autobert_zero.run_folder.names import snapshots_of

Bank = WeightBank | NoSharing

_KEPT = 2


def snapshot_path(folder: Path, trials: int) -> Path:
    """The file with the bank after the given number of trials."""
    return folder / f"{trials:08}.safetensors"


def save_snapshot(bank: Bank, folder: Path, trials: int) -> None:
    """Writes the bank after the given number of trials; the two newest snapshots are kept."""
    _write(bank.state(), folder, trials)


class SnapshotWriter:
    """Writes snapshots in a thread, while the next candidates train.

    It is at most one snapshot behind: each is started when the previous one is on disk. After a kill, the
    history has candidates of at most one batch that no snapshot includes, and they are trained again.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "snapshots")
        self._writing: Future[None] | None = None

    def save(self, bank: Bank, folder: Path, trials: int) -> None:
        """Copies the bank after the given number of trials; the copy is written later.

        Raises:
            OSError: The previous snapshot could not be written.
        """
        self.wait()
        self._writing = self._thread.submit(_write, _host_copy(bank.state()), folder, trials)

    def wait(self) -> None:
        """Returns when all snapshots are on disk.

        Raises:
            OSError: A snapshot could not be written.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Waits, and ends the thread.

        Raises:
            OSError: A snapshot could not be written.
        """
        try:
            self.wait()
        finally:
            self._thread.shutdown()


def _host_copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors on the CPU; those of a device are one transfer for each format."""
    names: dict[tuple[torch.device, torch.dtype], list[str]] = {}
    for name, tensor in state.items():
        names.setdefault((tensor.device, tensor.dtype), []).append(name)
    copy: dict[str, Tensor] = {}
    for same in names.values():
        flat = torch.cat([state[name].flatten() for name in same]).cpu()  # (numbers of all tensors,)
        for name, part in zip(same, flat.split([state[name].numel() for name in same]), strict=True):
            copy[name] = part.view_as(state[name])  # in its own shape
    return copy


def _write(state: dict[str, Tensor], folder: Path, trials: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(snapshot_path(folder, trials)) as partial:
        save_file(state, partial)
    older = snapshots_of(folder)[:-_KEPT]
    for old in (*older, *folder.glob("*.partial")):  # a kill may have left half a file
        old.unlink()


def restore_snapshot(
    bank: Bank, folder: Path, trials: int, say: Callable[[str], None] = lambda text: None
) -> int:
    """Loads the newest complete snapshot within a history of the given number of trials.

    Args:
        bank: The bank, which is restored in place.
        folder: Folder of the snapshots.
        trials: Length of the history.
        say: Called with the names of damaged snapshots.

    Returns:
        The number of trials that it includes; later ones have to be trained again.

    Raises:
        UserError: There is no such snapshot, or it has other sizes.
    """
    for path in reversed(snapshots_of(folder)):
        if int(path.stem) > trials:
            continue  # written, but its trials were not recorded
        try:
            load_snapshot(bank, path)
        except SafetensorError as error:
            say(f"snapshot {path} cannot be read ({error}); the one before it is tried")
            continue
        return int(path.stem)
    raise UserError(
        f"{folder} has no whole snapshot for a history of {trials} trials; the run cannot be resumed, "
        "start another"
    )


def load_snapshot(bank: Bank, snapshot: Path | bytes) -> None:
    """Loads the shared weights of a snapshot: a file, or the content of one.

    Raises:
        SafetensorError: The snapshot is damaged.
        UserError: It has other sizes.
    """
    tensors = load(snapshot) if isinstance(snapshot, bytes) else load_file(snapshot)
    try:
        bank.load_state(tensors)
    except ValueError as error:
        raise UserError(f"the snapshot does not fit: {error}; start another run") from None
