"""What real tumours and brains are like, learned once: distributions that new ones are drawn from."""
