"""Kinds of change in modules and scripts."""

from __future__ import annotations

from typing import Any

from tests.changes.kinds import Kind, cached, kept, noticed, unseen

_RELOAD = 'import importlib, helpers; importlib.reload(helpers)'
_RUN = """
class T(kartnb.TaskOnKart):
    def run(self):
        {}
        self.dump({})
"""
_IN_MODULE = 'import kartnb\nclass T(kartnb.TaskOnKart):\n    def run(self): self.dump({})\n'
_RERUN = {'on_code_change': 'rerun'}


def _module(title: str, text: str, uses: str, *, setup: str = 'import helpers', **more: Any) -> Kind:
    """A module `helpers` with another number in it."""
    versions = [{'helpers.py': text.format(n)} for n in (1, 2)]
    return noticed(title, *versions, uses, setup=setup, **{'again': _RELOAD, **more})


def _inside(title: str, imported: str, uses: str, **more: Any) -> Kind:
    """A module that is imported when the task runs."""
    return _module(title, 'K = {0}\ndef f(): return {0}\n', uses, setup='', task=_RUN.format(imported, uses), **more)


MODULES: list[Kind] = [
    _module('a function: `import helpers`', 'def f(): return {}\n', 'helpers.f()'),
    _module('a function: `import helpers as h`', 'def f(): return {}\n', 'h.f()', setup='import helpers as h'),
    _module(
        'a function: `from helpers import f`',
        'def f(): return {}\n',
        'f()',
        setup='from helpers import f',
        again=_RELOAD + '\nfrom helpers import f',
    ),
    _module(
        'a function: `from helpers import *`',
        'def f(): return {}\n',
        'f()',
        setup='from helpers import *',
        again=_RELOAD + '\nfrom helpers import *',
    ),
    _module('a constant of a module', 'K = {}\n', 'helpers.K'),
    _module('a constant that a function of a module reads', 'K = {}\ndef f(): return K\n', 'helpers.f()'),
    _module('a class of a module', 'class C:\n    def m(self): return {}\n', 'helpers.C().m()'),
    _module(
        'a module that is edited under `%autoreload 2`',
        'def f(): return {}\n',
        'helpers.f()',
        setup='%load_ext autoreload\n%autoreload 2\nimport helpers',
        again='pass',
        alone=True,
    ),
    noticed(
        'a module that a module imports',
        {'helpers.py': 'import inner\ndef f(): return inner.g()\n', 'inner.py': 'def g(): return 1\n'},
        {'inner.py': 'def g(): return 2\n'},
        'helpers.f()',
        setup='import helpers',
        again='import importlib, inner; importlib.reload(inner)',
    ),
    noticed(
        'a module that a module imports by `from`',
        {'helpers.py': 'from inner import g\ndef f(): return g()\n', 'inner.py': 'def g(): return 1\n'},
        {'inner.py': 'def g(): return 2\n'},
        'helpers.f()',
        setup='import helpers',
        again='import importlib, inner; importlib.reload(inner)\n' + _RELOAD,
    ),
    noticed(
        'what a package gives by its `__init__`',
        {'pkg/__init__.py': 'from pkg.inner import g\n', 'pkg/inner.py': 'def g(): return 1\n'},
        {'pkg/inner.py': 'def g(): return 2\n'},
        'pkg.g()',
        setup='import pkg',
        places=('restart',),
    ),
    noticed(
        'a relative import',
        {
            'pkg/__init__.py': '',
            'pkg/a.py': 'from .b import g\ndef f(): return g()\n',
            'pkg/b.py': 'def g(): return 1\n',
        },
        {'pkg/b.py': 'def g(): return 2\n'},
        'a.f()',
        setup='from pkg import a',
        places=('restart',),
    ),
    noticed(
        'a package without `__init__`',
        {'space/a.py': 'def f(): return 1\n'},
        {'space/a.py': 'def f(): return 2\n'},
        'space.a.f()',
        setup='import space.a',
        places=('restart',),
    ),
    noticed(
        'a module below `src`, as of an editable install',
        {'src/helpers.py': 'def f(): return 1\n'},
        {'src/helpers.py': 'def f(): return 2\n'},
        'helpers.f()',
        setup='import sys; sys.path.insert(0, "src")\nimport helpers',
        places=('restart',),
    ),
    _inside('`import helpers` in `run`', 'import helpers', 'helpers.f()'),
    _inside('`import helpers as h` in `run`', 'import helpers as h', 'h.f()'),
    _inside('`from helpers import f` in `run`', 'from helpers import f', 'f()'),
    _inside('`from helpers import K as k` in `run`', 'from helpers import K as k', 'k'),
    _inside('`importlib.import_module` in `run`', 'import importlib', "importlib.import_module('helpers').f()"),
    _inside('an import in a branch of `run`', 'if True: from helpers import f', 'f()'),
    _inside('an import in `try`', 'try: from helpers import f\n        except ImportError: f = None', 'f()'),
    _module(
        'an import in a helper function',
        'def f(): return {}\n',
        'g()',
        setup='def g():\n    from helpers import f\n    return f()',
    ),
    noticed(
        'a relative import in a function',
        {
            'pkg/__init__.py': '',
            'pkg/a.py': 'def f():\n    from .b import g\n    return g()\n',
            'pkg/b.py': 'def g(): return 1\n',
        },
        {'pkg/b.py': 'def g(): return 2\n'},
        'a.f()',
        setup='from pkg import a',
        places=('restart',),
    ),
    noticed(
        'an import in a function of a module imported in a function',
        {'helpers.py': 'def f():\n    import inner\n    return inner.g()\n', 'inner.py': 'def g(): return 1\n'},
        {'inner.py': 'def g(): return 2\n'},
        task=_RUN.format('import helpers', 'helpers.f()'),
        places=('restart',),
    ),
    _module(
        'a script that `%run` has run',
        'def f(): return {}\n',
        'f()',
        setup='%run helpers.py',
        again='%run helpers.py',
    ),
    noticed(
        'a task in a script that `%run` has run',
        *({'helpers.py': _IN_MODULE.format(n)} for n in (1, 2)),
        setup='%run helpers.py',
        again='%run helpers.py',
        task='pass',
    ),
    noticed(
        'a script that `exec(open(…).read())` has run',
        *({'helpers.py': f'def f(): return {n}\n'} for n in (1, 2)),
        'f()',
        setup="exec(open('helpers.py').read())",
        again="exec(open('helpers.py').read())",
    ),
    noticed(
        'a task in a module, policy `rerun`',
        *({'helpers.py': _IN_MODULE.format(n)} for n in (1, 2)),
        setup='import helpers',
        again=_RELOAD,
        task='pass',
        root='helpers.T()',
        options=_RERUN,
    ),
    noticed(
        'a task in a module that is loaded again in the session',
        *({'tasks_of_mine.py': _IN_MODULE.format(n)} for n in (1, 2)),
        setup='import tasks_of_mine',
        again='import importlib, tasks_of_mine; importlib.reload(tasks_of_mine)',
        task='pass',
        root='tasks_of_mine.T()',
        places=('kernel',),
    ),
    kept(
        'a task in a module, policy `warn` (the default)',
        *({'tasks_of_mine.py': _IN_MODULE.format(n)} for n in (1, 2)),
        setup='import tasks_of_mine',
        task='pass',
        root='tasks_of_mine.T()',
        places=('restart',),
    ),
    cached(
        'a comment in a module',
        {'helpers.py': 'def f(): return 1\n'},
        {'helpers.py': '# more\ndef f():\n    return 1  # yes\n'},
        'helpers.f()',
        setup='import helpers',
        again=_RELOAD,
    ),
    cached(
        'a function of a module that is not used',
        {'helpers.py': 'def f(): return 1\ndef g(): return 1\n'},
        {'helpers.py': 'def f(): return 1\ndef g(): return 2\n'},
        'helpers.f()',
        setup='import helpers',
        again=_RELOAD,
    ),
    cached(
        'an import in `run`, and the module is imported above, too',
        {'': '', 'helpers.py': 'def f(): return 1\n'},
        {'': 'import helpers'},
        task=_RUN.format('from helpers import f', 'f()'),
    ),
    cached(
        'the module becomes a package',
        {'helpers.py': 'def f(): return 1\n'},
        {'helpers.py': None, 'helpers/__init__.py': 'def f(): return 1\n'},
        'helpers.f()',
        setup='import helpers',
        places=('restart',),
    ),
    kept(
        'a module that is edited and not loaded again, in the same kernel',
        {'helpers.py': 'def f(): return 1\n'},
        {'helpers.py': 'def f(): return 2\n'},
        'helpers.f()',
        setup='import helpers',
        places=('kernel',),
        because='',
        says='changed on disk since',
    ),
    unseen(
        'the code of a library that was installed',
        {'site-packages/lib.py': 'def f(): return 1\n'},
        {'site-packages/lib.py': 'def f(): return 2\n'},
        'lib.f()',
        setup='import sys; sys.path.insert(0, "site-packages")\nimport lib',
        places=('restart',),
    ),
]
