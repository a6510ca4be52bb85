"""Fills masks with a masked language model, by the pipeline of `transformers`.

    python examples/fill_mask.py runs/hybrid "The [MASK] was good." "It was a [MASK]."

The first argument is a folder of `autobert-zero pretrain` or of `save_pretrained`, or a name on the Hub; the
others are texts with the mask of its tokenizer (`[MASK]` for the models of this package).
"""

import sys

import transformers

import autobert_zero.hf  # noqa: F401  # the Auto classes know "autobert-zero" from here on

TOP_K = 5


def main(model: str, texts: list[str]) -> None:
    """Prints the likeliest tokens for every mask of every text, each with its probability."""
    fill = transformers.pipeline("fill-mask", model, top_k=TOP_K)
    for text in texts:
        print(text)
        guesses = fill(text)
        # A text with one mask has one list of guesses, a text with several has a list of lists.
        for number, mask in enumerate([guesses] if isinstance(guesses[0], dict) else guesses, start=1):
            tokens = ", ".join(f"{guess['token_str']} ({guess['score']:.1%})" for guess in mask)
            print(f"  mask {number}: {tokens}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
