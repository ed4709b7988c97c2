"""Sample k of seed s: a host, perhaps a donor, and edits that end in a lawful layout."""
