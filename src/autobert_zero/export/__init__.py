"""Export: a trained model as files for those who do not have this package."""

from autobert_zero.export.folder import FORMATS, export

__all__ = ["FORMATS", "export"]
