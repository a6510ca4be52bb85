"""Minimal pairs: how often a masked language model prefers the grammatical sentence (BLiMP), untuned."""
