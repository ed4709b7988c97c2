"""Learning to paint: from annotated scans to a generator."""
