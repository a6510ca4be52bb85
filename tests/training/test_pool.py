"""Worker processes: calls are made again where a worker dies, and no worker outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import pytest
import torch

from autobert_zero.training.pool import Report, WorkerDied, WorkerPool


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    made = WorkerPool(2, threads=1, cards=("GPU-a", "7"))
    yield made
    made.close()


def double(number: int, report: Report) -> tuple[int, int, bool, str]:
    for step in range(3):
        report(number, step)
    deterministic = torch.are_deterministic_algorithms_enabled()
    return 2 * number, torch.get_num_threads(), deterministic, os.environ["CUDA_VISIBLE_DEVICES"]


def die_once(marker: Path, report: Report) -> int:
    """Killed the first time, as by a system that runs out of memory."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def die(report: Report) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(report: Report) -> None:
    raise KeyError("a bug")


def lock(report: Report) -> Any:
    import threading

    return threading.Lock()


def mixed(what: str, path: Path, report: Report) -> Any:
    return {"die": die, "once": lambda report: die_once(path, report), "pid": lambda report: os.getpid()}[
        what
    ](report)


def test_calls_are_made_and_report(pool: WorkerPool) -> None:
    seen: list[tuple[int, int]] = []
    calls = [(number,) for number in range(5)]
    found = dict(pool.run(double, calls, lambda *values: seen.append(values)))
    assert {number: found[number][:3] for number in found} == {n: (2 * n, 1, False) for n in range(5)}
    assert {card for *_, card in found.values()} == {"GPU-a", "7"}  # each worker sees one of them
    assert sorted(seen) == [(number, step) for number in range(5) for step in range(3)]
    assert dict(pool.run(double, [(7,)]))[0][:2] == (14, 1)
    assert dict(pool.run(double, [])) == {}


def test_workers_are_as_deterministic_as_their_parent() -> None:
    pool = WorkerPool(1, cards=("0",))
    torch.use_deterministic_algorithms(True)
    try:
        ((_, (_, _, deterministic, _)),) = pool.run(double, [(1,)])
    finally:
        torch.use_deterministic_algorithms(False)
        pool.close()
    assert deterministic


def test_a_killed_worker_is_replaced_and_only_the_guilty_call_fails(pool: WorkerPool, tmp_path: Path) -> None:
    calls = [("pid", tmp_path), ("die", tmp_path), ("once", tmp_path / "marker"), ("pid", tmp_path)]
    found = dict(pool.run(mixed, calls))
    assert isinstance(found[1], WorkerDied)
    assert found[1].reason == "its worker died 2 times; it may need more memory than there is"
    assert all(isinstance(found[index], int) for index in (0, 2, 3))


def test_a_worker_that_dies_with_nothing_to_do_is_replaced(pool: WorkerPool) -> None:
    ((_, first),) = pool.run(mixed, [("pid", Path())])
    os.kill(first, signal.SIGKILL)
    ((_, second),) = pool.run(mixed, [("pid", Path())])
    assert second != first


def test_workers_that_are_dismissed_end_and_others_take_later_calls(pool: WorkerPool) -> None:
    calls = [("pid", Path())] * 2
    before = {pid for _, pid in pool.run(mixed, calls)}
    pool.dismiss()
    assert not any(map(psutil.pid_exists, before))
    assert before.isdisjoint(pid for _, pid in pool.run(mixed, calls))
    pool.dismiss()
    pool.dismiss()


def watch_releases(path: Path, report: Report) -> bool:
    """Whether memory was released since the first call."""
    mock.patch.object(torch.cuda, "empty_cache", path.touch).start()
    return path.exists()


def test_an_idle_worker_keeps_no_memory_of_its_card(tmp_path: Path) -> None:
    pool = WorkerPool(1)
    assert list(pool.run(watch_releases, [(tmp_path / "released",)] * 2)) == [(0, False), (1, True)]
    pool.close()


def test_a_bug_reaches_the_parent(pool: WorkerPool) -> None:
    with pytest.raises(KeyError, match="a bug") as caught:
        list(pool.run(fail, [()]))
    assert "In a worker process:" in caught.value.__notes__[0]


def test_what_cannot_travel_is_said(pool: WorkerPool) -> None:
    with pytest.raises(RuntimeError, match="cannot pickle"):
        list(pool.run(lock, [()]))


@pytest.mark.slow
def test_a_script_without_a_guard_is_said_to_need_one(tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(
        "from operator import neg\n"
        "from autobert_zero.training.pool import WorkerPool\n"
        "print(list(WorkerPool(1).run(neg, [(1,)])))\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "UserError: a worker process ended with code 1 before it began" in done.stderr
    assert 'under if __name__ == "__main__":' in done.stderr


def test_a_worker_sees_its_card_before_it_imports_the_program(tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(
        "import os\n"
        "from autobert_zero.training.pool import WorkerPool\n"
        "SEEN = os.environ.get('CUDA_VISIBLE_DEVICES')\n"
        "def seen(report):\n"
        "    return SEEN\n"
        "if __name__ == '__main__':\n"
        "    pool = WorkerPool(1, cards=('GPU-a',))\n"
        "    print(SEEN, *pool.run(seen, [()]), os.environ.get('CUDA_VISIBLE_DEVICES'))\n"
        "    pool.close()\n"
    )
    for before in (None, "GPU-b,GPU-a"):
        given = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        given |= {} if before is None else {"CUDA_VISIBLE_DEVICES": before}
        done = subprocess.run(
            [sys.executable, program], env=given, capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{before} (0, 'GPU-a') {before}\n"


def test_a_killed_parent_leaves_no_worker(tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(
        "import os, time\n"
        "from autobert_zero.training.pool import WorkerPool\n"
        "def endless(report):\n"
        "    report(os.getpid())\n"
        "    time.sleep(1000)\n"
        "if __name__ == '__main__':\n"
        "    list(WorkerPool(2).run(endless, [(), ()], lambda pid: print(pid, flush=True)))\n"
    )
    parent = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [int(parent.stdout.readline()) for _ in range(2)]
    parent.kill()
    parent.wait()
    while any(psutil.pid_exists(worker) for worker in workers):
        time.sleep(0.05)
    parent.stdout.close()
