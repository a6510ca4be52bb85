"""`python -m autobert_zero`."""

from autobert_zero.cli import main

main()
