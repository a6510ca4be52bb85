"""Modules of this package as one file that needs nothing of it."""
