"""Plan and build: which tasks run, in which order, where, and what comes of it."""
