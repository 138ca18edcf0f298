"""Lets the tests of a code base that uses gokart run on kartnb, unchanged: ``pytest -p kartnb.compat.pytest``.

Importing it does nothing yet: kartnb's own tests, which need the real gokart too, look into every module.
"""

from kartnb.compat.doors import as_gokart


def pytest_load_initial_conftests() -> None:
    """Let ``import gokart`` mean kartnb before any of the tests' files is imported."""
    as_gokart()


def pytest_configure() -> None:
    """Do the same for who names the plugin in ``pytest_plugins``."""
    as_gokart()
