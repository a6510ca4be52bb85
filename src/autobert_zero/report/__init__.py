"""Presentation: the HTML report of runs, and pictures of backbones."""
