"""Learning to segment: from annotated cases of any origin to a segmenter, or to one for every fold."""
