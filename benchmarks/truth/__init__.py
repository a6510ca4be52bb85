"""What `horizon.py` and `proof.py` share: trainings to marks, backbones, proxies and statistics."""
