"""Text to batches: corpora, tokenizer, packing into a memory-mapped cache, masking."""
