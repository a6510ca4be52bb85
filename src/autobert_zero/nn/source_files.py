"""Source files on which the exact output of a model depends, for the keys of caches."""

from pathlib import Path

from autobert_zero import compile as compiler

SOURCE_FILES = tuple(
    str(file)
    for folder in (Path(__file__).parent, Path(str(compiler.__file__)).parent)
    for file in sorted(folder.glob("*.py"))
)
