"""Worker processes: pools of them, and what travels to them and back."""
