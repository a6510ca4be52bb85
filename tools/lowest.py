"""Tries the lowest versions of the dependencies that pyproject.toml allows.

Usage: python tools/lowest.py FOLDER [pytest arguments]

In a new environment at FOLDER every dependency `name>=version` of the package and of its extras `hf`,
`pretrain`, `finetune`, `draw` and `export` is installed as `name==version`; then the tests run there, all
but the slow ones. Torch is the one exception: it is taken at the version of requirements.lock, because older
builds for CPUs are not on every package index. Exits with the code of pip or pytest.
"""

import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = ("hf", "pretrain", "finetune", "draw", "export")
RUNNERS = ("hypothesis", "pytest", "pytest-xdist", "jupytext", "nbclient", "ipykernel")
"""What the tests need beside; any version."""


def lowest_versions() -> list[str]:
    """The requirements of pyproject.toml, each at its lower bound."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"]]
    for extra in EXTRAS:
        wanted += project["optional-dependencies"][extra]
    lowest = {}
    for requirement in wanted:
        name, bound, version = requirement.partition(">=")
        if bound:
            lowest[name] = f"{name}=={version}"
    locked = re.search(r"^torch==.*$", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    assert locked is not None, "requirements.lock has no line for torch"
    return sorted({**lowest, "torch": locked.group()}.values())


def main() -> int:
    """Installs and tests."""
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder, arguments = Path(sys.argv[1]).resolve(), sys.argv[2:]
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    requirements = lowest_versions()
    print("lowest versions:", *requirements, sep="\n  ", flush=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for packages in (
        requirements,
        ["--constraint", str(_constraints(folder, requirements)), *RUNNERS],
        ["--no-deps", str(ROOT)],
    ):
        code = subprocess.run([*install, *packages]).returncode
        if code:
            return code
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    pytest = [str(python), "-m", "pytest", "-m", "not slow", *arguments]
    return subprocess.run(pytest, cwd=ROOT, env=environment).returncode


def _constraints(folder: Path, requirements: list[str]) -> Path:
    """A file that keeps later installations from raising what was installed."""
    path = folder / "constraints.txt"
    path.write_text("\n".join(requirements), encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
