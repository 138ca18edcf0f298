"""Code that is imported inside functions counts by its source, loaded or not, and is not imported for that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.fork_server import ForkServer, fork_server

RUN = """
import importlib
import kartnb
from kartnb.task.code.prints import Printer


class T(kartnb.TaskOnKart):
    def run(self):
        {body}


def told():
    found = Printer().print_of(T)
    print(found.digest, *found.unknown, sep=' | ')
    if {shown}:
        print(found.to_json())


told()
assert not [name for name in sys.modules if name.partition('.')[0] == 'mine']
if {loads!r}:
    exec({loads!r})
    told()
"""
HELPERS = """
import math
from mine.more import base, unused
K = 1
TABLE = {'a': 1}
TABLE['b'] = 2
API_TOKEN = 's3cret'
def f(x=K): return inner(x)
def inner(x): return math.sqrt(x) + base() + TABLE['b']
def other(): return 0
def login(): return API_TOKEN
class C:
    def m(self): return K
"""
MORE = 'def base(): return 1\ndef unused(): return 1\n'


@pytest.fixture(scope='module')
def server() -> Iterator[ForkServer]:
    """Gives new processes."""
    with fork_server() as made:
        yield made


def _told(
    server: ForkServer, directory: Path, body: str, files: Mapping[str, str], loads: str = '', shown: bool = False
) -> list[str]:
    for name, text in {'mine/__init__.py': '', 'mine/helpers.py': HELPERS, 'mine/more.py': MORE, **files}.items():
        place = directory / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(text)
    (directory / 'script.py').write_text('import sys' + RUN.format(body=body, loads=loads, shown=shown))
    script = "import runpy; runpy.run_path('script.py', run_name='__main__')"
    return (server.run(script, directory) or '').splitlines()


#: How a function comes to a helper, which is the same before and after the module is loaded.
WAYS = {
    'import as': 'import mine.helpers as h; h.f()',
    'import': 'import mine.helpers; mine.helpers.f()',
    'from': 'from mine.helpers import f; f()',
    'for what the import does': 'import mine.helpers',
    'from a package': 'from mine import helpers; helpers.f()',
    'by text': "importlib.import_module('mine.helpers').f()",
    'by __import__': "__import__('mine.helpers').f()",
}


@pytest.mark.parametrize('way', WAYS)
def test_a_helper_that_is_imported_when_it_is_needed(server: ForkServer, way: str, tmp_path: Path) -> None:
    before, after = _told(server, tmp_path, WAYS[way], {}, 'import mine.helpers')
    assert before == after
    assert ' | ' not in before, 'nothing is unknown'
    for old, new in (('K = 1', 'K = 2'), ('sqrt(x)', 'exp(x)'), ("['b'] = 2", "['b'] = 3")):
        assert _told(server, tmp_path, WAYS[way], {'mine/helpers.py': HELPERS.replace(old, new)})[0] != before, old
    assert _told(
        server, tmp_path, WAYS[way], {'mine/more.py': MORE.replace('base(): return 1', 'base(): return 2')}
    ) != [before]
    commented = HELPERS.replace('K = 1', 'K = 1  # one')
    assert _told(server, tmp_path, WAYS[way], {'mine/helpers.py': commented}) == [before]
    if way.startswith(('import', 'from')):
        same = _told(
            server, tmp_path, WAYS[way], {'mine/helpers.py': HELPERS.replace('other(): return 0', 'other(): return 1')}
        )
        assert same == [before], 'what is not used does not count'


@pytest.mark.parametrize(
    'body, why',
    [
        ('import nowhere', 'the module nowhere is not found'),
        ('from mine.helpers import gone', 'gone is not found in mine.helpers'),
        ('importlib.import_module(self.task_id)', 'imports a module whose name is known only when it runs'),
        ('from mine.lazy import any; any()', 'mine.lazy.__getattr__ computes what any is'),
        ("import runpy; runpy.run_path('x.py')", 'names are looked up by runpy'),
    ],
)
def test_what_cannot_be_followed_is_said(server: ForkServer, body: str, why: str, tmp_path: Path) -> None:
    [told] = _told(server, tmp_path, body, {'mine/lazy.py': 'def __getattr__(name): return name\n'})
    assert why in told


#: Registries: the files, and what `run` does.
REGISTRIES = {
    'in its own module': ({'mine/a.py': 'REGISTER@register\ndef f(): return 1\n'}, "from mine.a import get; get('f')"),
    'in another module': (
        {'mine/a.py': 'REGISTER', 'mine/b.py': 'from mine.a import register\n@register\ndef f(): return 1\n'},
        "from mine import b, a; a.get('f')",
    ),
    'of derived classes': (
        {
            'mine/a.py': 'class B:\n    R = {}\n    def __init_subclass__(cls): B.R[cls.__name__] = cls\n'
            'class f(B):\n    def m(self): return 1\ndef get(name): return B.R[name]().m()'
        },
        "from mine.a import get; get('f')",
    ),
}
REGISTER = 'R = {}\ndef register(f):\n    R[f.__name__] = f\n    return f\ndef get(name): return R[name]()\n'


@pytest.mark.parametrize('kind', REGISTRIES)
def test_what_is_in_a_registry_counts(server: ForkServer, kind: str, tmp_path: Path) -> None:
    files, body = REGISTRIES[kind]
    files = {name: text.replace('REGISTER', REGISTER) for name, text in files.items()}
    before, after = _told(server, tmp_path, body, files, 'import mine.a' + (', mine.b' if len(files) > 1 else ''))
    assert before == after
    edited = {name: text.replace('return 1', 'return 2') for name, text in files.items()}
    assert _told(server, tmp_path, body, edited)[0] != before


def test_a_module_that_was_patched_counts_as_it_is_loaded(server: ForkServer, tmp_path: Path) -> None:
    before, after = _told(server, tmp_path, WAYS['from'], {}, 'import mine.helpers; mine.helpers.K = 5')
    assert before != after
    before, after = _told(server, tmp_path, WAYS['from'], {}, 'import mine.helpers; mine.helpers.inner = max')
    assert before != after


def test_a_module_that_was_edited_and_not_loaded_again_counts_as_it_is_loaded(
    server: ForkServer, tmp_path: Path
) -> None:
    edited = HELPERS.replace('K = 1', 'K = 2').replace("{'a': 1}", 'dict(a=2)')
    loads = f'import mine.helpers; told(); open("mine/helpers.py", "w").write({edited!r})'
    before, loaded, after = _told(server, tmp_path, WAYS['from'], {}, loads)
    assert before == loaded == after


def test_secrets_are_not_in_the_source_that_is_kept(server: ForkServer, tmp_path: Path) -> None:
    told = _told(server, tmp_path, 'from mine.helpers import login; login()', {}, shown=True)
    assert 's3cret' not in '\n'.join(told)
    assert 'def login' in '\n'.join(told)


def test_names_that_come_with_a_star(server: ForkServer, tmp_path: Path) -> None:
    starred = {'mine/all.py': 'from mine.helpers import *\n'}
    before, after = _told(server, tmp_path, 'from mine.all import f; f()', starred, 'import mine.all')
    assert before == after
    changed = {**starred, 'mine/helpers.py': HELPERS.replace('sqrt', 'exp')}
    assert _told(server, tmp_path, 'from mine.all import f; f()', changed) != [before]


def test_modules_that_import_each_other(server: ForkServer, tmp_path: Path) -> None:
    files = {'mine/one.py': 'from mine.two import f\ndef g(): return f()', 'mine/two.py': 'from mine.one import g, f'}
    [told] = _told(server, tmp_path, 'from mine.one import g, f; g()', files)
    assert told


def test_classes_and_optional_imports(server: ForkServer, tmp_path: Path) -> None:
    files = {
        'mine/optional.py': 'try:\n    import mine.helpers as h\nexcept ImportError:\n    h = None\n'
        'def f(): return h.C().m()'
    }
    before, after = _told(server, tmp_path, 'from mine.optional import f; f()', files, 'import mine.optional')
    assert before == after
    changed = {**files, 'mine/helpers.py': HELPERS.replace('K = 1', 'K = 2')}
    assert _told(server, tmp_path, 'from mine.optional import f; f()', changed) != [before]
