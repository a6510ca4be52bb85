"""The one training loop and its parts: objectives, number formats, checkpoints, distillation, workers."""
