"""The one training loop: it serves the search's proxy, the comparison, and what comes later."""
