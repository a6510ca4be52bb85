"""Fine-tuning runs: single trainings, the sweep over rates and seeds, and their folder."""
