"""Entry point of `python -m autobert_zero.cli`, an older form of `python -m autobert_zero`."""

from autobert_zero.cli import main

main()
