"""Pure functions from plans and build reports to text, HTML and SVG.

`kartnb.display` says which of them draws what, and imports it when something is drawn. Nothing here runs a task, and a
result is loaded only where a preview of it was asked for.
"""
