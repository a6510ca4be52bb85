"""The files of the code that decides, down to the last bits, what a model computes."""

from pathlib import Path

from autobert_zero import compile as compiler

FILES = tuple(
    str(file)
    for folder in (Path(__file__).parent, Path(str(compiler.__file__)).parent)
    for file in sorted(folder.glob("*.py"))
)
