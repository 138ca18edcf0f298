"""What a task prints and logs: taken at the process's streams, split by task, kept."""
