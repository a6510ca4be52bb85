"""Measures how often a masked language model prefers the grammatical sentence of a minimal pair (BLiMP)."""
