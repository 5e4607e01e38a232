"""Replicas and workers: strategies, their batches, clusters, what workers agree on."""
