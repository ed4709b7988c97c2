"""Experiments with training: what pairs are worth, which network is better."""
