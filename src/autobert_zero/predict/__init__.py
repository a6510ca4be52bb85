"""Predictions for texts with a trained model: labels, scores, tags, answers, filled masks, embeddings."""
