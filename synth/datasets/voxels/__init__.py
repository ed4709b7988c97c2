"""What the voxels of a case say about it, whatever its files are called; arrays in, verdicts out."""
