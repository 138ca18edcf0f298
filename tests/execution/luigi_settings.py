"""Settings of luigi's configuration for the length of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import luigi


@contextmanager
def luigi_settings(section: str, **values: object) -> Iterator[None]:
    """Set options of a section of luigi's configuration; they are taken away at the end."""
    config = luigi.configuration.get_config()
    for name, value in values.items():
        config.set(section, name, str(value))
    try:
        yield
    finally:
        for name in values:
            config.remove_option(section, name)
