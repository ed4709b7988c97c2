"""Runs: from sources to a folder of cases, layouts, segmentations or reconstructions, resumed and replayed."""
