"""Previews of values by their type: as text and as HTML, bounded, escaped, and without a kernel."""
