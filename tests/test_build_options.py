"""Whether a build is durable: from its options, the environment or luigi's configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kartnb
from kartnb.cli.run import CommandLine
from kartnb.config import DURABLE_ENVIRONMENT, BuildOptions, is_durable


@pytest.fixture
def configuration(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.delenv(DURABLE_ENVIRONMENT, raising=False)
    config: Any = kartnb.luigi.configuration.get_config()
    yield config
    config.remove_section('kartnb')


def test_what_is_nearest_to_the_build_decides(configuration: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_durable(BuildOptions())
    configuration.set('kartnb', 'durable', 'true')
    assert is_durable(BuildOptions())
    monkeypatch.setenv(DURABLE_ENVIRONMENT, '0')
    assert not is_durable(BuildOptions())
    assert is_durable(BuildOptions(durable=True))
    monkeypatch.setenv(DURABLE_ENVIRONMENT, 'Yes')
    assert is_durable(BuildOptions())
    assert not is_durable(BuildOptions(durable=False))


def test_a_setting_that_is_neither_yes_nor_no_is_named(configuration: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration.set('kartnb', 'durable', 'maybe')
    with pytest.raises(kartnb.KartError, match=r"\[kartnb\] durable in the configuration must be 'true' or 'false'"):
        is_durable(BuildOptions())
    monkeypatch.setenv(DURABLE_ENVIRONMENT, '2')
    with pytest.raises(kartnb.KartError, match='The environment variable KARTNB_DURABLE must be'):
        is_durable(BuildOptions())
    with pytest.raises(TypeError, match="durable must be True, False or None, not 'yes'"):
        BuildOptions(durable='yes')  # type: ignore[arg-type]


class Plain(kartnb.TaskOnKart[str]):
    def run(self) -> None:
        self.dump('x')


class Battery(kartnb.TaskOnKart[str]):
    durable = kartnb.luigi.Parameter(default='no')


def test_the_command_line_has_the_option_unless_the_task_has_it() -> None:
    assert CommandLine(['Plain']).durable is None
    assert CommandLine(['Plain', '--durable']).durable is True
    assert CommandLine(['--durable', 'Plain']).durable is True
    line = CommandLine(['Battery', '--durable', '5'])
    assert (line.durable, line.get_task_obj().durable) == (None, '5')


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch, configuration: Any) -> list[int]:
    """Return the files and directories that this process flushes to the disk from now on."""
    found: list[int] = []
    flush = os.fsync
    monkeypatch.setattr(os, 'fsync', lambda descriptor: (found.append(descriptor), flush(descriptor))[1])
    return found


def test_a_durable_build_and_sweep_flush_to_the_disk_and_others_do_not(flushed: list[int], tmp_path: Path) -> None:
    kartnb.build(Plain(workspace_directory=str(tmp_path / 'a')))
    assert flushed == []
    kartnb.build(Plain(workspace_directory=str(tmp_path / 'b')), durable=True)
    assert len(flushed) >= 3, 'the result, its record, and a directory'
    flushed.clear()
    kartnb.sweep(Plain, [{}], workspace_directory=str(tmp_path / 'c'), durable=True)
    assert flushed
