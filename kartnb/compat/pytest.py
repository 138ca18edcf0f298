"""Lets the tests of a code base that uses gokart run on kartnb, unchanged: ``pytest -p kartnb.compat.pytest``."""

from kartnb.compat.doors import as_gokart

as_gokart()
