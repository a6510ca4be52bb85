"""AutoBERT-Zero: discover language-model backbones from primitive operations, and train what is found."""
