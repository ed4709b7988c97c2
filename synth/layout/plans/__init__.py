"""What a set of samples is to cover, and how single samples are brought there."""
