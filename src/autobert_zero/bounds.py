"""Upper bounds of whole numbers that users give, far above anything that makes sense."""

LARGEST_SIZE = 10**12
"""Bound of all settings without one of their own: products of two are still sizes of tensors."""

MAX_LAYERS = 10_000

MAX_VOCABULARY = 10_000_000
"""Tokenizers cannot be trained to a hundred times as many tokens."""
