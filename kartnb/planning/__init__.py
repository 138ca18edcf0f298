"""The graph of tasks, the state of each, and whether its result is what a run would give now."""
