"""Fine-tuning runs: single trainings, the sweep over rates and seeds, and the folder that keeps them."""
