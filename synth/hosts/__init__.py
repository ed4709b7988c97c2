"""What a run samples from: brains, tumours and styles, of the user or of nobody."""
