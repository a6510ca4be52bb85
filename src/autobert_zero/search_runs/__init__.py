"""Whole runs of a search: what trains candidates, the processes it is done in, the folder, the comparison."""
