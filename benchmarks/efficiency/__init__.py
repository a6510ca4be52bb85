"""Parts of `search_efficiency.py`."""
