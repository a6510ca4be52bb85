"""Exports trained models for users who do not have this package."""

from autobert_zero.export.folder import PROGRAM_FORMATS, export

__all__ = ["PROGRAM_FORMATS", "export"]
