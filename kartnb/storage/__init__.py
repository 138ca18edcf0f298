"""Where results live: targets, file formats, pickling, file systems, locks, gokart's logs. Knows no tasks."""
