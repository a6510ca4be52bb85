"""Pre-training of a backbone: from text to a model folder that fine-tuning and `transformers` load."""
