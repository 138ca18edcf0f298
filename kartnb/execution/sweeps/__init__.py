"""Sweeps: a task for each point of a space of parameter values, built together and compared."""
