"""Predicts labels, scores, tags, answers, masked tokens or embeddings for texts with a trained model."""
