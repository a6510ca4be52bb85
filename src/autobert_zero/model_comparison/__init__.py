"""Compares encoders: size, speed, memory, and scores that need no training."""
