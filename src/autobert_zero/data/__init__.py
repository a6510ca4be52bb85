"""From text to batches: corpora, tokenizers, packing into a memory-mapped cache, masking."""
