"""`python -m autobert_zero.cli`: what scripts from before `python -m autobert_zero` call."""

from autobert_zero.cli import main

main()
