"""Any encoders beside each other: size, speed, memory, and scores that need no training."""
