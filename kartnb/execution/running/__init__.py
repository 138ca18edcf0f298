"""Running one task, the same way in every executor."""
