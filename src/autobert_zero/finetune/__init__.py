"""Fine-tuning of pre-trained models on tasks, and the GLUE table."""
