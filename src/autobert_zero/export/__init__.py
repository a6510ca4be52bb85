"""Exports trained models for users who do not have this package."""

from autobert_zero.export.folder import FORMATS, export

__all__ = ["FORMATS", "export"]
