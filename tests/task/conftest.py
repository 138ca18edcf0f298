"""A register, a configuration and a working directory of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import luigi
import pytest
from luigi.configuration.cfg_parser import LuigiConfigParser
from luigi.task_register import Register


@pytest.fixture(autouse=True)
def _own_register() -> Iterator[None]:
    """Let names such as `A` be free in each test, and put luigi's register and instance cache back."""
    before = list(Register._reg)
    Register.clear_instance_cache()
    yield
    Register._reg = before
    Register.clear_instance_cache()


@pytest.fixture(autouse=True)
def configuration() -> Iterator[LuigiConfigParser]:
    """luigi's configuration, empty, and put back at the end."""
    before = LuigiConfigParser._instance
    LuigiConfigParser._instance = None
    yield luigi.configuration.get_config()
    LuigiConfigParser._instance = before


@pytest.fixture
def resources() -> Path:
    """The default workspace."""
    return Path.cwd() / 'resources'
