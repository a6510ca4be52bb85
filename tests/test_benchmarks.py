"""Every benchmark can be imported and says how it is called."""

import ast
import re
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if "def main(" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_it_says_how_it_is_called(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its imports train nothing; what it needs beside the package's extras is imported where it is used."""
    path = FOLDER / f"{name}.py"
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    assert end.value.code == 0
    printed, doc = capsys.readouterr().out, ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert printed.startswith(f"usage: {name}.py [-h]")
    assert doc is not None
    assert "".join(doc.partition("\n")[0].split()) in "".join(printed.split())
    # The options of the documented call are there.
    assert {option for option in re.findall(r"--[a-z][\w-]*", doc) if option not in printed} == set()


def test_all_are_tried() -> None:
    """But a peer's process, which a benchmark starts; what is no program is a library of theirs."""
    programs = {path.stem for path in FOLDER.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")}
    assert programs == {*NAMES, "autobert_peer"}
