"""From times on a card to the choices in the code."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("convolution")


def test_a_form_must_be_clearly_faster(bench: ModuleType) -> None:
    assert bench.choose({"triton": 1.0, "banded_product": 1.04}) == "banded_product"
    assert bench.choose({"triton": 1.0, "banded_product": 1.06, "depthwise": 2.0}) == "triton"
    assert bench.choose({"triton": 1.0}) == "triton"  # the band product failed


def test_few_choices_give_each_cell_its_form(bench: ModuleType) -> None:
    grid = [(width, tokens, k) for width in (128, 768) for tokens in (128, 512) for k in (3, 9, 65)]
    cells = dict.fromkeys(grid, "banded_product")
    assert bench.merge_choices(cells) == []
    cells = dict.fromkeys(grid, "triton")
    assert bench.merge_choices(cells) == [bench.FormChoice("triton")]
    # Long sequences, and wide short ones with a small kernel.
    cells = {
        cell: "triton"
        if cell[1] == 512
        else "shifted_sum"
        if cell[0] == 768 and cell[2] == 3
        else "banded_product"
        for cell in grid
    }
    choices = bench.merge_choices(cells)
    assert {cell: bench.chosen(choices, cell) for cell in grid} == cells
    assert len(choices) < len(grid) / 2
    assert bench.chosen(choices, (1024, 4096, 129)) == "triton"  # as the largest that was measured
