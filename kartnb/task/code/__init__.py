"""The code of task classes: its print, what it is made of, where its source is, and what of it is loaded."""
