"""Scores of fine-tuned models: over seeds, as a table, and as a model card."""
