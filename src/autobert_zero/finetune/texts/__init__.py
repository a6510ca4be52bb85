"""Tasks of sentences and pairs of sentences: classification and regression, with GLUE built in."""
