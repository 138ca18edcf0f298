"""One task over many parameter values: the space, the points, the run and its result."""
