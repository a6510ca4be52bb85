"""SQuAD v1.1 and v2.0: spans of a text as answers, or no answer."""
