"""Files on the disk: written whole or not at all, one writer a folder, a manifest that vouches for them, one claim."""
