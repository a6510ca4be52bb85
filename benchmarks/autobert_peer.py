"""The re-implementation `autobert` 0.0.2 as a server of timings, in an environment of its own.

It needs transformers 4.44, which ours does not work with. `environment` makes the environment once, in
`benchmarks/.autobert`; run as a program in it, this file reads a case a line (JSON) and answers with seconds.
"""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from timing import Case, timed

_FOLDER = Path(__file__).parent / ".autobert"


def environment(torch_version: str) -> Path:
    """Creates the environment if it is missing, and returns the path of its Python."""
    python = _FOLDER / "bin" / "python"
    if not (_FOLDER / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", _FOLDER], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"torch=={torch_version}", "transformers==4.44.2", "numpy"], check=True)
        subprocess.run([*pip, "--no-deps", "autobert==0.0.2"], check=True)
        (_FOLDER / ".installed").touch()
    return python


class Peer:
    """The process of the peer, as a context manager."""

    def __init__(self, python: Path, threads: int) -> None:
        command = [str(python), __file__, str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()

    def timed(self, case: Case) -> float:
        """Seconds of one pass, as `timing.timed`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(case)) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the peer ended; what it printed is above")
        return float(answer)


def serve(threads: int) -> None:
    """Answers cases until the input ends."""
    import torch
    from autobert import AutoBertConfig, AutoBertModel

    torch.set_num_threads(threads)
    config = AutoBertConfig(
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=2048,
        weight_softmax=True,
    )
    model = AutoBertModel(config)
    for line in sys.stdin:
        case = Case(**json.loads(line))
        seconds = timed(model, lambda ids: model(input_ids=ids)[0], case, config.vocab_size)
        print(seconds, flush=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
