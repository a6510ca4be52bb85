"""Tasks of sentences and pairs of sentences: classes, or a value. GLUE's are built in."""
