"""Modules shared by `horizon.py` and `proof.py`: trainings, backbones, proxies and statistics."""
