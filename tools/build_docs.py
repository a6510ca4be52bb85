"""Builds the documentation site: stages docs/ with the pages generated from the code, and runs Zensical.

    python tools/build_docs.py

Warnings (broken links and anchors, unknown names in the API) are errors. Nothing is fetched from the network.
"""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
STAGE = ROOT / "build" / "docs"
SITE = ROOT / "site"
PACKAGE = ROOT / "src" / "autobert_zero"
NOT_API = {"cli", "__init__"}  # the command line has a page of its own kind

_TABLE = re.compile(r"<!-- primitives -->\n.*?<!-- /primitives -->", re.DOTALL)
_SUBCOMMANDS = re.compile(r"\*\*Commands\*\*:\n\n(\* .*\n)+\n?")


def api_units() -> list[str]:
    """Names of the packages and modules right below ours that the API documents."""
    found = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    return sorted(found - NOT_API)


def command_line() -> str:
    """The reference of all commands, by Typer's own generator."""
    command = (sys.executable, "-m", "typer", "autobert_zero.cli", "utils", "docs", "--name", "autobert-zero")
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    commands = text[text.index("\n## ") :]  # what is above lists them, cut short
    return (
        "# Command line\n\nGenerated from the code; `--help` after any command shows the same.\n"
        + _SUBCOMMANDS.sub("", commands)
    )


def api_page(unit: str) -> str:
    """A page that mkdocstrings fills with the docstrings of a module, or of a package and its modules."""
    folder = PACKAGE / unit
    text = f"# autobert_zero.{unit}\n"
    for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]:
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        options: dict[str, Any] = {
            "show_root_heading": path not in (folder / "__init__.py", folder.with_suffix(".py"))
        }
        if parts[-1] == "__init__":
            parts = parts[:-1]
            options["members"] = defined(path) or False
        text += f"\n::: autobert_zero.{'.'.join(parts)}\n    options: {json.dumps(options)}\n"
    return text


def defined(path: Path) -> list[str]:
    """The public names that a file defines; those that it hands on are documented where they are defined."""
    names = []
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names.append(statement.name)
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names.append(statement.target.id)
    return [name for name in names if not name.startswith("_")]


def check_links(page: Path) -> None:
    """Checks that a page leads to no file outside docs/, which the site does not have.

    Raises:
        SystemExit: It does.
    """
    outward = re.findall(r"\]\((\.\./[^)]*)\)", page.read_text(encoding="utf-8"))
    if outward:
        sys.exit(f"{page.name} links out of docs/: {', '.join(outward)}")


def stage(folder: Path) -> None:
    """Writes the sources of the site: our pages, the generated ones, and the config that names them all.

    Raises:
        SystemExit: A page of docs/ is not in the nav, or the other way round, or links out of docs/.
    """
    sys.path.insert(0, str(ROOT / "tools"))
    from primitives import primitives_table

    shutil.rmtree(folder, ignore_errors=True)
    pages = folder / "docs"
    shutil.copytree(ROOT / "docs", pages)
    for page in pages.glob("*.md"):
        check_links(page)
    space = pages / "space.md"
    space.write_text(_TABLE.sub(lambda _: primitives_table(pictures=True), space.read_text()))
    (pages / "reference").mkdir()
    (pages / "reference" / "cli.md").write_text(command_line())
    for unit in api_units():
        (pages / "reference" / f"{unit}.md").write_text(api_page(unit))
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    reference = [{"Command line": "reference/cli.md"}]
    reference += [{f"autobert_zero.{unit}": f"reference/{unit}.md"} for unit in api_units()]
    config["nav"][-1]["Reference"] = reference
    listed = set(_listed(config["nav"]))
    there = {path.relative_to(pages).as_posix() for path in pages.rglob("*.md")}
    if listed != there:
        sys.exit(f"mkdocs.yml: nav and docs/ differ in {', '.join(sorted(listed ^ there))}")
    config["plugins"][-1]["mkdocstrings"]["handlers"]["python"]["paths"] = [str(PACKAGE.parent)]
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(config, sort_keys=False))


def _listed(nav: list[dict[str, Any]]) -> list[str]:
    """The pages of a nav, flat."""
    pages: list[str] = []
    for entry in nav:
        for target in entry.values():
            pages += [target] if isinstance(target, str) else _listed(target)
    return pages


def build() -> int:
    """Stages and builds into `site/`; returns the exit code of Zensical."""
    stage(STAGE)
    command = (sys.executable, "-m", "zensical", "build", "--strict", "--clean")
    code = subprocess.run(command, cwd=STAGE, check=False).returncode
    if code == 0:
        shutil.rmtree(SITE, ignore_errors=True)
        shutil.move(STAGE / "site", SITE)
    return code


if __name__ == "__main__":
    sys.exit(build())
