"""Sets in the layouts that training programs read: a module a layout, the run they share, splits without leaks."""
