"""AutoBERT-Zero: discover language-model backbones from primitive operations, and train what is found."""

from autobert_zero.provenance import version

__version__ = version()
