"""The IPython extension: magics, completion, progress, and tracebacks of the user's own code."""
