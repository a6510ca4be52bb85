"""`python -m autobert_zero.cli`."""

from autobert_zero.cli import main

main()
