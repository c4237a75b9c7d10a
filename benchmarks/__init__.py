"""Benchmarks against peers: the same work, the same answers, one run."""
