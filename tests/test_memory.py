"""The allocator: memory that is freed and allocated again is not taken from the system again."""

import subprocess
import sys

import pytest

from autobert_zero.memory import keep_freed_memory

SCRIPT = """
import resource
from autobert_zero.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        bytearray(64 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
kept = keep_freed_memory()
faults()  # the first takes it
print(before, kept, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts the page faults of Linux")
def test_freed_memory_is_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    before, kept, after = done.stdout.split()
    if kept == "False":
        pytest.skip("the C library is not glibc")
    assert int(after) < int(before) / 10


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not keep_freed_memory()
