"""What tasks print and log, heard wherever it leaves the process, each task's by itself."""
