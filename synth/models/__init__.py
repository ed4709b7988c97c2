"""Trained networks: what they are (`configs`, `cards`: without TensorFlow), how they are built, loaded and run."""
