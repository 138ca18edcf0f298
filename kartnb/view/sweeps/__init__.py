"""Sweeps as text, HTML and plots."""
