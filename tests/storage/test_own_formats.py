"""Formats of one's own: in one line, as a class, for one target, or from a package."""

from __future__ import annotations

import csv
import importlib
import io
import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import yaml

from kartnb.errors import UnknownFormatError, UnreadableResultError
from kartnb.storage.formats import base
from kartnb.storage.formats.base import FileProcessor, known_extensions, registered_formats
from kartnb.storage.formats.registry import (
    FunctionFileProcessor,
    packed_formats,
    register_format,
    unpack_formats,
    unregister_format,
)
from kartnb.storage.targets import make_target


@pytest.fixture(autouse=True)
def _no_format_stays() -> Iterator[None]:
    yield
    for extension in registered_formats():
        unregister_format(extension)


def test_yaml_in_one_line() -> None:
    register_format('.yaml', load=yaml.safe_load, dump=yaml.safe_dump)
    target = make_target('a.yaml', 'x')
    target.dump({'n': [1, 'ü']})
    assert target.load() == {'n': [1, 'ü']}
    assert Path('a_x.yaml').read_text() == yaml.safe_dump({'n': [1, 'ü']})
    assert '.yaml' in known_extensions()


def test_libraries_that_write_text_or_bytes() -> None:
    register_format('.npy', load=np.load, dump=lambda array, file: np.save(file, array))
    register_format('.jsonc', load=json.load, dump=json.dump)
    register_format(
        '.rows',
        load=lambda file: list(csv.reader(file)),
        dump=lambda rows, file: csv.writer(file).writerows(rows),
        text=True,
    )
    for name, value in {'a.npy': np.arange(3), 'a.jsonc': {'ü': 1}, 'a.rows': [['a', 'ü'], ['1', '2']]}.items():
        target = make_target(name)
        target.dump(value)
        assert np.array_equal(target.load(), value) if name == 'a.npy' else target.load() == value


class Upper(FileProcessor):
    def load(self, file: IO[bytes]) -> str:
        return file.read().decode().lower()

    def dump(self, obj: str, file: IO[bytes]) -> None:
        file.write(obj.upper().encode())


def test_a_class_or_an_instance() -> None:
    for processor in (Upper, Upper()):
        register_format('.upper', processor)
        make_target('a.upper').dump('abc')
        assert Path('a.upper').read_bytes() == b'ABC'
        assert make_target('a.upper').load() == 'abc'
    unregister_format('.upper')
    with pytest.raises(UnknownFormatError):
        make_target('a.upper')


def test_for_one_target() -> None:
    target = make_target('a.anything', processor=FunctionFileProcessor(json.load, json.dump))
    target.dump([1])
    assert target.load() == [1]
    with pytest.raises(UnknownFormatError):
        make_target('b.anything')


def test_a_built_in_format_can_be_replaced_and_comes_back() -> None:
    make_target('a.txt').dump('x')
    register_format('.txt', Upper)
    make_target('a.txt').dump('x')
    assert Path('a.txt').read_bytes() == b'X'
    unregister_format('.txt')
    make_target('a.txt').dump('x')
    assert Path('a.txt').read_bytes() == b'x'


def test_another_process_gets_the_formats() -> None:
    assert packed_formats() == b''
    register_format('.upper', Upper())
    register_format(
        '.lines', load=lambda file: file.read().split(), dump=lambda words, file: file.write(' '.join(words))
    )
    packed = packed_formats()
    unregister_format('.upper')
    unregister_format('.lines')
    register_format('.older', Upper())
    unpack_formats(packed)
    assert set(registered_formats()) == {'.upper', '.lines'}
    make_target('a.lines').dump(['a', 'b'])
    assert Path('a.lines').read_bytes() == b'a b'
    unpack_formats(b'')
    assert registered_formats() == {}


PACKAGE = """
from kartnb.storage.formats.base import FileProcessor
class Reversed(FileProcessor):
    def load(self, file): return file.read()[::-1]
    def dump(self, obj, file): file.write(obj[::-1])
"""


def test_a_package_brings_a_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'backwards.py').write_text(PACKAGE)
    info = tmp_path / 'backwards-1.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: backwards\nVersion: 1.0\n')
    (info / 'entry_points.txt').write_text('[kartnb.formats]\nback = backwards:Reversed\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    target = make_target('a.back')
    target.dump(b'abc')
    assert Path('a.back').read_bytes() == b'cba'
    assert target.load() == b'abc'
    assert '.back' in known_extensions()
    monkeypatch.delitem(base._factories, '.back')
    monkeypatch.delitem(base._made, ('.back', True, 'pandas'))
    monkeypatch.delitem(sys.modules, 'backwards')


@pytest.mark.parametrize('extension', ['yaml', '.tar.gz', '.', '', None])
def test_an_extension_has_one_full_stop(extension: Any) -> None:
    with pytest.raises(ValueError, match='an extension looks like'):
        register_format(extension, Upper)


def test_both_directions_are_needed() -> None:
    with pytest.raises(TypeError, match='needs a processor, or both load and dump'):
        register_format('.a', load=json.load)
    with pytest.raises(TypeError, match='but not both'):
        register_format('.a', Upper, load=json.load)


def test_a_damaged_file_of_an_own_format_is_named() -> None:
    register_format('.yaml', load=yaml.safe_load, dump=yaml.safe_dump)
    Path('a.yaml').write_text('a: [1, 2')
    with pytest.raises(UnreadableResultError, match=r'a\.yaml cannot be read') as caught:
        make_target('a.yaml').load()
    assert isinstance(caught.value.__cause__, yaml.YAMLError)


def test_a_processor_without_a_direction() -> None:
    with pytest.raises(NotImplementedError, match='Half has no dump'):
        type('Half', (FileProcessor,), {})().dump(1, io.BytesIO())
    assert pickle.loads(pickle.dumps(Upper())).load(io.BytesIO(b'A')) == 'a'


def test_what_is_no_function_or_no_processor_is_refused() -> None:
    with pytest.raises(TypeError, match='needs functions as load and dump'):
        register_format('.x', load='load', dump='dump')  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r'processor is a class: make one, processor=FileProcessor\(\)'):
        make_target('a.x', processor=FileProcessor)  # type: ignore[arg-type]
