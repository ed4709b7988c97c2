"""Numbers on quality, shared by training, reconstruction and reports."""
