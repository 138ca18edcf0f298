"""What is remembered of a run, as objects: the five gokart logs and the run record."""
