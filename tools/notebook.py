"""Makes examples/first_steps.ipynb from the script of the same name.

python tools/notebook.py
"""

from pathlib import Path

import jupytext
import nbformat

SCRIPT = Path(__file__).resolve().parent.parent / "examples" / "first_steps.py"
NOTEBOOK = SCRIPT.with_suffix(".ipynb")
_KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def notebook() -> str:
    """The script as a notebook without outputs: the same text at every call."""
    made = jupytext.reads(SCRIPT.read_text(encoding="utf-8"), fmt="py:percent")
    made.metadata = nbformat.from_dict(_KERNEL)
    for number, cell in enumerate(made.cells):
        cell.id, cell.metadata = f"cell-{number}", nbformat.from_dict({})
    return nbformat.writes(made) + "\n"


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook(), encoding="utf-8")
