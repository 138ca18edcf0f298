"""`add_config`: files of all kinds, and what is wrong with others."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import luigi
import pytest
from luigi.configuration.cfg_parser import LuigiConfigParser

import kartnb


class Load(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=1)


class Asks(kartnb.TaskOnKart):
    def run(self) -> None:
        self.dump(Load().n)


@pytest.fixture(autouse=True)
def _paths() -> Iterator[None]:
    before = list(LuigiConfigParser._config_paths)
    yield
    LuigiConfigParser._config_paths[:] = before


@pytest.mark.parametrize('name', ['param.ini', 'param.cfg', 'param.conf', 'param'])
def test_values_are_read_without_a_word(name: str) -> None:
    Path(name).write_text('[Load]\nn = 5\n[TaskOnKart]\nworkspace_directory = kept\n')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        kartnb.add_config(name)
    assert Load().n == 5
    assert Load().workspace_directory == 'kept'


def test_later_files_win() -> None:
    Path('one.ini').write_text('[Load]\nn = 5\n')
    Path('two.ini').write_text('[Load]\nn = 6\n')
    kartnb.add_config('one.ini')
    kartnb.add_config('two.ini')
    assert Load().n == 6


def test_a_file_is_remembered_by_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Path('one.ini').write_text('[Load]\nn = 5\n')
    kartnb.add_config('one.ini')
    monkeypatch.chdir(tmp_path)
    Path('two.ini').write_text('[Other]\nn = 6\n')
    kartnb.add_config('two.ini')
    LuigiConfigParser._instance = None
    assert Load().n == 5


def test_no_such_file() -> None:
    with pytest.raises(FileNotFoundError, match=r'Configuration file .*nowhere\.ini not found'):
        kartnb.add_config('nowhere.ini')


@pytest.mark.parametrize('text', ['n = 5', '[Load]\nn = 5\nn = 6', '\xff\xfe'])
def test_no_configuration_file(text: str) -> None:
    Path('bad.ini').write_bytes(text.encode('latin-1'))
    with pytest.raises(ValueError, match=r'^bad\.ini is not a configuration file: '):
        kartnb.add_config('bad.ini')
    Path('good.ini').write_text('[Load]\nn = 7\n')
    kartnb.add_config('good.ini')
    assert Load().n == 7


def test_toml_needs_luigi_to_be_told() -> None:
    Path('param.toml').write_text('[Load]\nn = 5\n')
    with pytest.warns(UserWarning, match=r'^param\.toml is not read: set LUIGI_CONFIG_PARSER=toml'):
        kartnb.add_config('param.toml')
    assert Load().n == 1


def test_a_toml_configuration_that_changes_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('LUIGI_CONFIG_PARSER', 'toml')
    config = luigi.configuration.get_config()
    monkeypatch.setattr(config, 'data', {})
    assert Load().n == 1
    config.set('Load', 'n', 5)
    assert Load().n == 5
    assert kartnb.build(Asks(), workers=2) == 5
