"""Kills a real search at random moments and resumes it: does it end as the uninterrupted one, bit by bit?

    python benchmarks/crash.py [--quick]

A search of two layers on the embedded corpus runs once without a break. Then it runs again and is killed
(SIGKILL) over and over: a random time after a new candidate, during the start, during the comparison from
scratch and, at least once, while a snapshot of the shared weights is being written. At one of the kills the
newest snapshot is damaged as well. `identical` says whether history, leaderboard, snapshots, found backbone
and trained weights (times apart) are those of the uninterrupted run. Where the user may mount one, the same
on a small disk that fills up in the middle (`full_disk`). Prints one JSON object as its last line.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from autobert_zero.search.config import SearchConfig
from autobert_zero.search.history import History
from autobert_zero.settings import resolve

CONFIG = {
    "data": {"vocab_size": 1024, "length": 32},
    "model": {"layers": 2, "width": 32, "heads": 2, "dropout": 0.1},
    "strategy": {"population": 6, "parents": 2, "children": 2},
    "proxy": {"warmup_steps": 20, "steps": 12, "batch_size": 8, "validation_sequences": 64},
    "final": {"finalists": 2, "screening_steps": 60, "steps": 80, "batch_size": 8, "workers": 1},
}
TIMES = {"seconds", "search_seconds", "tokens_per_second", "val_loss_equal_time"}
"""Times, and what is read off a curve at a time."""


def start_search(config: Path, out: Path) -> subprocess.Popen[bytes]:
    """Starts the search in a process of its own, or resumes it."""
    exists = (out / "config.yaml").exists()
    options = ["--resume"] if exists else ["--config", str(config)]
    command = [sys.executable, "-m", "autobert_zero.cli", "search", "--out", str(out), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def newest(out: Path) -> int:
    """Number of trials in the newest snapshot; -1 without one."""
    return max((int(path.stem) for path in (out / "bank").glob("*.safetensors")), default=-1)


def _newer(out: Path, before: int) -> bool:
    """Whether more candidates are recorded than before."""
    return newest(out) > before


def _any_partial(folder: Path) -> bool:
    """Whether a snapshot is being written."""
    return any(folder.glob("*.partial"))


def kill_when(process: subprocess.Popen[bytes], ready: Callable[[], bool], delay: float) -> bool:
    """Kills a process `delay` seconds after a condition holds; returns whether it was still alive then."""
    while process.poll() is None and not ready():
        time.sleep(0.0005)
    time.sleep(delay)
    alive = process.poll() is None
    process.kill()
    process.wait()
    return alive


def outcome(out: Path) -> dict[str, Any]:
    """The complete outcome of a run, without times."""
    trials = History(f"sqlite:///{out / 'study.db'}").load()
    with (out / "leaderboard.csv").open(encoding="utf-8") as stream:
        leaderboard = [without_times(row) for row in csv.DictReader(stream)]
    return {
        "trials": [(t.proposal, t.outcome.status, t.outcome.score, dict(t.rescored)) for t in trials],
        "leaderboard": leaderboard,
        "summary": without_times(json.loads((out / "summary.json").read_text())),
        "bank": {path.name: path.read_bytes() for path in (out / "bank").glob("*.safetensors")},
        "weights": (out / "model.safetensors").read_bytes(),
        "best": (out / "best.txt").read_text(),
    }


def without_times(value: Any) -> Any:
    """Removes the times from plain data."""
    if isinstance(value, dict):
        return {key: without_times(part) for key, part in value.items() if key not in TIMES}
    return [without_times(part) for part in value] if isinstance(value, list) else value


def finish(config: Path, out: Path) -> None:
    """Runs a search to its end."""
    process = start_search(config, out)
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"the search ended with {process.returncode}: {errors.decode()}")


def run_with_kills(config: Path, out: Path, kills: int, candidates: int) -> dict[str, int]:
    """Runs a search, kills it the given number of times, and resumes it to its end.

    Returns:
        Number of kills by moment, and of damaged snapshots.
    """
    random, counts = Random(0), {"candidate": 0, "start": 0, "snapshot": 0, "final": 0, "damaged": 0}
    while sum(counts.values()) - counts["damaged"] < kills:
        done = sum(counts.values()) - counts["damaged"]
        process, before = start_search(config, out), newest(out)
        if before >= candidates:
            moment = "final"
            alive = kill_when(process, lambda: True, random.uniform(2, 12))
        elif done % 5 == 1:
            moment = "start"
            alive = kill_when(process, lambda: True, random.uniform(0, 8))
        elif counts["snapshot"] < 2:
            moment = "snapshot"
            partials = out / "bank"
            alive = kill_when(process, partial(_any_partial, partials), 0)
            alive = alive and any(partials.glob("*.partial"))  # it may have been renamed meanwhile
        else:
            moment = "candidate"
            alive = kill_when(process, partial(_newer, out, before), random.uniform(0, 0.5))
        counts[moment] += alive
        if moment == "candidate" and not counts["damaged"] and done > kills // 2:
            path = max((out / "bank").glob("*.safetensors"))
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            counts["damaged"] = 1
        if process.returncode == 0:
            break
    finish(config, out)
    return counts


def fill(file: Path) -> None:
    """Writes a file until the disk is full."""
    with file.open("wb", buffering=0) as stream:
        try:
            while stream.write(bytes(4096)):
                pass
        except OSError:
            return


def full_disk(config: Path, folder: Path, expected: dict[str, Any]) -> bool | None:
    """Whether a run survives a disk that is full for a while; None if no disk can be mounted here."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        return None
    out, filler = disk / "run", disk / "filler"
    process = start_search(config, out)
    try:
        while newest(out) < 3 and process.poll() is None:
            time.sleep(0.01)
        fill(filler)
        _, errors = process.communicate()
        *_, last = errors.splitlines()
        reported = process.returncode == 2 and last.startswith(b"error:") and b"make room" in last
        filler.unlink()
        finish(config, out)
        return reported and outcome(out) == expected
    finally:
        process.kill()
        process.wait()
        # Lazily: this process still has the study open, which it compared.
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def main() -> None:
    """Runs everything and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5 kills instead of 24")
    quick = parser.parse_args().quick
    kills, candidates = (5, 8) if quick else (24, 24)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "config.yaml"
        settings = resolve(SearchConfig(), CONFIG, {"proxy": {"candidates": candidates}})
        config.write_text(settings.to_yaml(), encoding="utf-8")
        finish(config, folder / "whole")
        expected = outcome(folder / "whole")
        counts = run_with_kills(config, folder / "killed", kills, candidates)
        result = {
            "benchmark": "crash",
            "kills": sum(counts.values()) - counts["damaged"],
            "identical": outcome(folder / "killed") == expected,
            "kills_by_moment": counts,
            "full_disk": full_disk(config, folder, expected),
            "candidates": candidates,
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
