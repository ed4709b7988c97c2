"""What the sections of a report share: the sets, what was measured, how a number is judged, tables and pictures."""
