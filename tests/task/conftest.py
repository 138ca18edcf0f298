"""A register, a configuration and a working directory of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import luigi
import pytest
from luigi.configuration.cfg_parser import LuigiConfigParser
from luigi.task_register import Register


@pytest.fixture(autouse=True)
def _own_register(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let luigi know only the classes of this test's module, and put its register and instance cache back."""
    before = list(Register._reg)
    libraries = ('kartnb', 'gokart', 'luigi')
    own = request.module.__name__ if request.module is not None else ''
    Register._reg = [cls for cls in before if cls.__module__ == own or cls.__module__.split('.')[0] in libraries]
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
