"""What a workspace remembers: run records, gokart's logs, results as a table, and what may be removed."""
