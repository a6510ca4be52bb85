"""Imports go one way, and the search space and the strategies load without torch."""

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import autobert_zero

ROOT = Path(autobert_zero.__file__).parent
FILES = [path.relative_to(ROOT).with_suffix("").as_posix() for path in sorted(ROOT.rglob("*.py"))]

# How files and run folders are written and named.
FOLDERS = {"files", "urls", "provenance", "run_folder"}
# What each unit may import of ours beside itself; the command line may import all.
FOUNDATIONS = {"bounds", "errors", "encoder_config", "extras", "callable_package", "markdown"}
"""What every unit may import beside that: pure Python that imports nothing of ours."""
MAY_IMPORT = {
    "bounds": set(),
    "errors": set(),
    "encoder_config": set(),
    "extras": {"errors"},
    "callable_package": set(),
    "markdown": set(),
    "strict_yaml": set(),
    "sources": {"errors"},
    "settings": {"errors", "sources", "strict_yaml"},
    "shared_config": {"settings", "sources", "encoder_config"},
    "files": set(),
    "urls": set(),
    "provenance": {"urls"},
    "run_folder": {"errors", "files", "provenance"},
    "space": {"errors"},
    "zoo": {"errors", "space", "cost"},
    "cost": {"space"},
    "compile": {"space"},
    "tracing": set(),
    "cudnn_attention": {"tracing"},
    "tf32": {"tracing"},
    "nn": {"space", "compile", "cudnn_attention", "tf32"},
    "devices": {"errors", "cudnn_attention"},
    "progress": set(),
    "signals": set(),
    "streams": set(),
    "out_file": {"errors", "files", "streams"},
    "memory": set(),
    "announce": {"nn", "data", "training", "devices", "estimate", "progress"},
    "estimate": {"shared_config", "space", "nn", "data", "training", "devices"},
    "plan": {"errors", "cost", "nn", "data", "training", "devices", "estimate", "measure", "progress"},
    "measure": {"space", "nn", "data", "cost", "devices", "training"},
    "describe": {"errors", "space", "compile", "cost"},
    "finetune": {
        "errors",
        *("settings", "shared_config"),
        "sources",
        "nn",
        "data",
        "hf",
        "training",
        "devices",
        "progress",
        "announce",
    },
    "minimal_pairs": {"errors", "nn", "data", "hf", "training", "finetune", "out_file"},
    "model_comparison": {"errors", "hf", "finetune", "devices", "export", "progress"},
    "export": {
        *("errors", "sources", "space", "nn", "data", "hf", "cost", "search", "search_runs", "report"),
        "minimal_pairs",
    },
    "predict": {
        *(
            "errors",
            "sources",
            "files",
            "nn",
            "data",
            "hf",
            "finetune",
            "training",
            "devices",
            "progress",
            "announce",
            "streams",
            "out_file",
        ),
    },
    "data": {"errors", "shared_config", "sources"},
    "training": {"errors", "devices", "shared_config", "space", "nn", "data", "signals", "memory"},
    "proxies": {"space", "cost", "nn", "data", "training"},
    "search": {"errors", "settings", "shared_config", "space", "zoo", "cost", "progress", "signals"},
    "testing": {"space", "search"},
    "search_runs": {
        *("errors", "settings", "space", "zoo", "cost", "progress", "search", "nn", "data", "training"),
        *("proxies", "devices", "finetune", "measure", "memory", "announce", "estimate", "minimal_pairs"),
        *("shared_config", "hf", "pretrain"),  # a search from a model
    },
    "pretrain": {
        *("errors", "settings", "shared_config", "space", "zoo", "nn", "data", "training", "hf", "devices"),
        *("progress", "signals", "announce", "estimate", "search"),
    },
    "report": {
        "errors",
        "settings",
        "space",
        "zoo",
        "cost",
        "search",
        "compile",
        "minimal_pairs",
        "out_file",
        "pretrain",
    },
    "flatten": set(),
    "hf": {"errors", "files", "sources", "space", "zoo", "nn", "flatten"},
}
for unit in (
    "finetune",
    "minimal_pairs",
    "export",
    "data",
    "training",
    "search",
    "search_runs",
    "pretrain",
    "report",
):
    MAY_IMPORT[unit] |= FOLDERS
LIGHT = {
    *(*FOUNDATIONS, "settings", "shared_config", "space", "compile", "zoo", "cost", "describe", "search"),
    "report",
}
HEAVY = {"torch", "numpy", "transformers", "datasets", "safetensors"}


def imported(file: str, top_level: bool) -> set[str]:
    """What a file imports, anywhere or at its top level, as paths such as `autobert_zero/space/Graph`."""
    tree = ast.parse((ROOT / f"{file}.py").read_text())
    names = set()
    for statement in tree.body if top_level else ast.walk(tree):
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            names |= {f"{statement.module}.{alias.name}" for alias in statement.names}
    return {name.replace(".", "/") for name in names}


@pytest.mark.parametrize("file", [file for file in FILES if file.split("/")[0] in MAY_IMPORT])
def test_direction(file: str) -> None:
    unit = file.split("/")[0]
    ours = {name.removeprefix("autobert_zero/") for name in imported(file, False) if "autobert_zero/" in name}
    allowed = MAY_IMPORT[unit] | ({unit} if unit in FOUNDATIONS else {unit} | FOUNDATIONS)
    assert {name.split("/")[0] for name in ours} <= allowed
    if unit in LIGHT:
        assert not {name.split("/")[0] for name in imported(file, True)} & HEAVY


def defined(statement: ast.stmt) -> list[str]:
    """The names that a statement at a module's top level defines; type variables are of no interest."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        value = statement.value
        variable = isinstance(value, ast.Call) and ast.unparse(value.func) == "TypeVar"
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [target.id for target in targets if isinstance(target, ast.Name) and not variable]
    return []


def test_a_public_name_has_one_meaning() -> None:
    """What several modules need is imported, and two things have two names."""
    places: dict[str, list[str]] = defaultdict(list)
    for file in FILES:
        for statement in ast.parse((ROOT / f"{file}.py").read_text()).body:
            for name in defined(statement):
                places[name].append(file)
    shared = {name: files for name, files in places.items() if len(files) > 1 and not name.startswith("_")}
    assert shared == {}


@pytest.mark.parametrize(
    "module", ["encoder_config", "space", "compile", "zoo", "describe", "search.loop", "testing"]
)
def test_loads_without_torch(module: str) -> None:
    program = f"import sys, autobert_zero.{module}; print({HEAVY} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
