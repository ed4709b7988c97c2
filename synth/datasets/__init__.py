"""Cases on the disk: found by name, read with suspicion, refused with a sentence."""
