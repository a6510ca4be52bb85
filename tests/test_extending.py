"""Every example of docs/extending.md does what the page says, in processes of its own."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import autobert_zero

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"
_FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Fence(NamedTuple):
    """A block of code of the page: its language, the file it is, and what is in it."""

    language: str
    title: str
    content: str


def fences(heading: str) -> list[Fence]:
    """The blocks of code below a heading of the page."""
    sections = dict(part.split("\n", 1) for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:])
    return [Fence(*found) for found in _FENCE.findall(sections[heading])]


def patched(text: str, diff: list[str]) -> str:
    """Adds the lines marked `+` after the one line of context, which stands in the text once."""
    context, added = diff[0], diff[1:]
    assert context[0] == " "
    assert all(line[0] == "+" for line in added)
    assert text.count(f"{context[1:]}\n") == 1, f"{context[1:]!r} is not in the file once"
    return text.replace(f"{context[1:]}\n", "\n".join([context[1:], *(line[1:] for line in added)]) + "\n")


class Workplace:
    """A folder with what the page has the reader write, and the package, a copy if it is changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = Path(autobert_zero.__file__).parent.parent

    def apply(self, heading: str) -> list[list[str]]:
        """Writes the files of a section and applies its changes; returns its commands."""
        commands = []
        for language, title, content in fences(heading):
            if language == "bash":
                commands += [shlex.split(line) for line in content.splitlines()]
            elif language == "diff":
                first, *lines = content.splitlines()
                self.change(first.removeprefix("--- src/autobert_zero/"), lines)
            else:
                path = self.folder / title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding="utf-8")
        return commands

    def change(self, file: str, diff: list[str]) -> None:
        """Changes a module in a copy of the package, which is what runs from then on."""
        copy = self.folder / "src"
        if self.source != copy:
            shutil.copytree(self.source / "autobert_zero", copy / "autobert_zero")
            self.source = copy
        path = copy / "autobert_zero" / file
        path.write_text(patched(path.read_text(encoding="utf-8"), diff), encoding="utf-8")

    def run(self, command: list[str], *more: object) -> str:
        """Runs a command of the page, with further options, in the folder; returns what it printed."""
        program = {"autobert-zero": ["-m", "autobert_zero"], "python": []}[command[0]]
        done = subprocess.run(
            [sys.executable, *program, *command[1:], *map(str, more)],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(self.source)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def python(self, program: str) -> str:
        """Runs a program of one line that looks at what came of it."""
        return self.run(["python", "-c", program]).strip()


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def test_every_section_is_tried() -> None:
    headings = re.findall(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == ["A primitive", "A mutation", "A strategy", "A task", "A backbone for the zoo"]


def test_primitive(workplace: Workplace) -> None:
    (describe,) = workplace.apply("A primitive")
    assert "relu(Q @ K.T)" in workplace.run(describe)
    drawn = "from random import Random; from autobert_zero.space import SETS, sample_graph as s; "
    drawn += "r = Random(0); print(any('relu' in s(r, 6, SETS['modern']).operations for _ in range(100)))"
    assert workplace.python(drawn) == "True"


# Compiled and interpreted, with padding: the largest difference over random graphs with the new primitives.
_COMPARED = """
from random import Random
import torch
from autobert_zero.nn.compiler import Compiled
from autobert_zero.nn.interpreter import Interpreter
from autobert_zero.nn.kernels import Context
from autobert_zero.space import INPUTS, SETS, sample_graph
random, count, worst = Random(0), 0, 0.0
torch.manual_seed(0)
inputs = {name: torch.randn(2, 2, 5, 4, dtype=torch.float64) for name in INPUTS}
mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
while count < 60:
    graph = sample_graph(random, 8, SETS['modern'])
    if {"relu", "least"} & graph.operations:
        count += 1
        results = [kind(graph)(inputs, Context(4, mask)) for kind in (Compiled, Interpreter)]
        a, b = (torch.cat([result[0], result[1, :, :3]], 1) for result in results)
        worst = max(worst, ((a - b).abs().max() / b.abs().max().clamp_min(1)).item())
print(worst)
"""


def test_new_primitives_compile(workplace: Workplace) -> None:
    workplace.apply("A primitive")
    entry = '        Primitive("relu", "r", 1, types.keep, "(a, b)", "max(x, 0)", elementwise=True),'
    binary = '"least", "m", 2, types.same, "(a, b), (a, b)", "min(x, y)", elementwise=True, commutative=True'
    workplace.change("space/primitives.py", [f" {entry}", f"+        Primitive({binary}),"])
    kernel = '    "least": lambda args, types, context: args[0].minimum(args[1]),'
    workplace.change("nn/kernels.py", [" KERNELS: dict[str, Kernel] = {", f"+{kernel}"])
    assert float(workplace.python(_COMPARED)) < 1e-9


def test_zoo_entry(workplace: Workplace) -> None:
    (show,) = workplace.apply("A backbone for the zoo")
    printed = workplace.run(show)
    assert "conv 9" in printed
    assert "softmax(scale(Q @ K.T)) @ V" in printed


@pytest.mark.slow
def test_mutation(workplace: Workplace, settings_file: Path) -> None:
    (search,) = workplace.apply("A mutation")
    workplace.run(search, "--config", settings_file)
    assert (workplace.folder / "runs" / "squares" / "summary.json").exists()
    grown = (
        "import my_mutation; from random import Random; from autobert_zero.space import parse_formula; "
        "from autobert_zero.space.mutate import mutate_graph; r = Random(0); "
        "g = parse_formula('softmax(Q @ K.T) @ V'); "
        "made = [mutate_graph(r, g, 12) for _ in range(300)]; "
        "wanted = ('softmax(Q @ K.T) @ softmax(Q @ K.T) @ V', 'softmax((Q @ K.T) @ (Q @ K.T)) @ V'); "
        "print({new.code for new, name in made if name == 'square'} "
        "== {parse_formula(text).code for text in wanted})"
    )
    assert workplace.python(grown) == "True", "the squares of the two square nodes, and nothing else"


@pytest.mark.slow
def test_strategy(workplace: Workplace, settings_file: Path) -> None:
    search, contract = workplace.apply("A strategy")
    workplace.run(search, "--config", settings_file)
    assert " passed" in workplace.run(contract, "-p", "no:cacheprovider")
    rows = (workplace.folder / "runs" / "hill" / "leaderboard.csv").read_text().splitlines()
    assert len(rows) == 1 + 9
    climbed = (
        "import my_strategy; from autobert_zero.search.config import StrategyConfig; "
        "from autobert_zero.search.strategies import make_strategy; "
        "from autobert_zero.search.loop import MemoryHistory, Search; "
        "from autobert_zero.search.toy import ToyEvaluator; "
        "from autobert_zero.space import Space; from autobert_zero.zoo import hybrid; "
        "s = make_strategy(Space(4), 0, StrategyConfig(name='hill-climbing')); "
        "o = [t.outcome.score for t in Search(s, ToyEvaluator(hybrid(4)), MemoryHistory()).run(200)]; "
        "print(max(o[100:]) > max(o[:20]))"
    )
    assert workplace.python(climbed) == "True"


@pytest.mark.slow
def test_task(workplace: Workplace, finished_run: Path) -> None:
    (finetune,) = workplace.apply("A task")
    model = workplace.folder / "runs" / "model"
    workplace.run(
        ["autobert-zero", "export", str(finished_run), str(model), "--no-onnx", "--no-program"],
    )
    printed = workplace.run(finetune, "--seeds", 1, "--rates", "1e-3", "--epochs", 1, "--length", 8)
    assert "| topics | macro_f1 |" in printed
