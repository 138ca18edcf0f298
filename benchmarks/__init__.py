"""Measurements, each a ratio inside one run."""

import kartnb  # noqa: F401 - before luigi, which then compiles no grammar: that would take most of a short run
