"""What kartnb needs of other packages that they do not promise: a release that moves it is named in one sentence.

`kartnb/_luigi.py` alone touches private names; the names without an underscore below are internal all the same.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import inspect
import io
import pkgutil
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import luigi
import pytest
import traitlets

import kartnb
from kartnb.storage import by_value


@dataclass(frozen=True)
class Needed:
    """A name of another package, what kartnb needs it for, and the parameters that it is called with."""

    name: str
    to: str
    parameters: tuple[str, ...] = ()

    @property
    def package(self) -> str:
        return self.name.partition(':')[0].partition('.')[0]

    def check(self) -> None:
        module, _, path = self.name.partition(':')
        imported = pytest.importorskip(module) if self.package in OPTIONAL else importlib.import_module(module)
        try:
            found = functools.reduce(_part, path.split('.'), imported)
        except AttributeError:
            pytest.fail(
                f'{_release(self.package)} no longer has {path}, which kartnb needs to {self.to}.', pytrace=False
            )
        missing = [name for name in self.parameters if name not in inspect.signature(found).parameters]
        if missing:
            what = f'takes no {" and no ".join(missing)} in {path}'
            pytest.fail(f'{_release(self.package)} {what}, which kartnb needs to {self.to}.', pytrace=False)


OPTIONAL = ('distributed', 'gokart', 'ipykernel')


class Colour(Enum):
    RED = 1


#: What has attributes only once it is made.
MADE: dict[str, Callable[[], Any]] = {
    'Parameter()': lambda: luigi.Parameter(default='one'),
    'NumericalParameter()': lambda: luigi.NumericalParameter(var_type=int, min_value=0, max_value=3),
    'ChoiceParameter()': lambda: luigi.ChoiceParameter(choices=[1], var_type=int),
    'ChoiceListParameter()': lambda: luigi.ChoiceListParameter(choices=[1], var_type=int),
    'EnumParameter()': lambda: luigi.EnumParameter(enum=Colour),
    'EnumListParameter()': lambda: luigi.EnumListParameter(enum=Colour),
    'RemoteScheduler()': lambda: importlib.import_module('luigi.rpc').RemoteScheduler('http://127.0.0.1:1'),
    'Worker()': lambda: importlib.import_module('luigi.worker').Worker(no_install_shutdown_handler=True),
    'get_config()': lambda: importlib.import_module('luigi.configuration').get_config(),
    'ThreadPoolExecutor()': lambda: importlib.import_module('concurrent.futures').ThreadPoolExecutor(2),
    'TaskStatusReporter()': lambda: importlib.import_module('luigi.worker').TaskStatusReporter(None, '', '', None),
    'ArgumentParser()': lambda: importlib.import_module('argparse').ArgumentParser(),
    'InteractiveShell()': lambda: importlib.import_module('IPython.core.interactiveshell').InteractiveShell(),
    'AutoreloadMagics()': lambda: importlib.import_module('IPython.extensions.autoreload').AutoreloadMagics(),
    'ExecutionInfo()': lambda: importlib.import_module('IPython.core.interactiveshell').ExecutionInfo(
        '', False, False, False, ''
    ),
}

NEEDED = (
    # the register
    Needed('luigi.task_register:Register._reg', 'list the task classes, and take replaced ones out'),
    Needed('luigi.task_register:Register._get_reg', 'find the module of a task that a command line names'),
    Needed('luigi.task_register:Register._Register__instance_cache', 'give one instance for the same values'),
    Needed('luigi.task_register:Register.AMBIGUOUS_CLASS', 'know a task family that several classes have'),
    Needed('luigi:Task._namespace_at_class_time', 'keep the namespace of a class that a decorator wraps'),
    Needed('luigi:Task._visible_in_registry', 'keep TaskOnKart itself out of command lines'),
    # tasks
    Needed('luigi:Task._requires', 'see whether a class adds to its requirements'),
    Needed('luigi:Task.deps', 'see whether a class adds to its requirements'),
    Needed('luigi:Task._event_callbacks', 'fire event handlers, in worker processes too'),
    Needed('luigi.worker:TaskStatusReporter()._worker_id', "tell the tasks of one build of luigi's from others"),
    # pandas
    Needed('pandas._config.config:_registered_options', 'know which options differ from their defaults'),
    Needed('pandas._config.config:_global_config', 'send the options to workers'),
    # parameters
    Needed('luigi.parameter:_no_value', 'know a parameter without a default'),
    Needed('luigi.parameter:_NoValueType', 'tell type checkers what a parameter without a default is given'),
    Needed('luigi:Parameter()._default', 'show which values are not the default ones'),
    Needed('luigi:Parameter()._config_path', 'read defaults again that come from the configuration'),
    Needed('luigi:Parameter._parser_kwargs', 'make options of a parameter', ('param_name', 'task_name')),
    Needed('luigi:Parameter.has_task_value', 'keep default values', ('task_name', 'param_name')),
    Needed('luigi:Parameter.task_value', 'keep default values', ('task_name', 'param_name')),
    Needed('luigi:Parameter._get_value', 'see whether a parameter finds its default in a way of its own'),
    Needed('luigi:Parameter._value_iterator', 'see whether a parameter finds its default in a way of its own'),
    Needed('luigi:Parameter._get_value_from_config', 'see whether a parameter finds its default in a way of its own'),
    Needed('luigi:Parameter._warn_on_wrong_param_type', 'check types', ('self', 'param_name', 'param_value')),
    Needed('luigi:Parameter._parse_list', 'read batchable parameters of gokart logs', ('self', 'xs')),
    Needed('luigi:Parameter._parser_kwargs', 'take true or false on a command line', ('param_name', 'task_name')),
    Needed('luigi:NumericalParameter()._var_type', 'tell whole numbers from others'),
    Needed('luigi:NumericalParameter()._min_value', 'draw a slider between the bounds'),
    Needed('luigi:NumericalParameter()._max_value', 'draw a slider between the bounds'),
    Needed('luigi:NumericalParameter()._left_op', 'know whether the smallest number is allowed'),
    Needed('luigi:NumericalParameter()._right_op', 'know whether the largest number is allowed'),
    Needed('luigi:ChoiceParameter()._choices', 'offer the choices'),
    Needed('luigi:ChoiceParameter()._var_type', 'read a choice that is given as text'),
    Needed('luigi:ChoiceListParameter()._choices', 'offer the choices'),
    Needed('luigi:ChoiceListParameter()._var_type', 'read choices that are given as text'),
    Needed('luigi:EnumParameter()._enum', 'offer the members'),
    Needed('luigi:EnumListParameter()._enum', 'offer the members'),
    # configuration and command line
    Needed('luigi.configuration:get_config()._instance', 'know whether the configuration was replaced'),
    Needed('luigi.configuration:get_config()._sections', 'see quickly that nothing is configured'),
    Needed('luigi.configuration:get_config()._defaults', 'restore the configuration after a test'),
    Needed('luigi.configuration:get_config()._proxies', 'restore the configuration after a test'),
    Needed('luigi.configuration:get_config()._config_paths', 'forget a configuration file that cannot be read'),
    Needed('luigi.configuration:get_config().add_config_path', 'add a configuration file', ('path',)),
    Needed('luigi.configuration.toml_parser:LuigiTomlParser', 'tell the two kinds of configuration files apart'),
    Needed('luigi.cmdline_parser:CmdlineParser._instance', 'let defaults come from a command line'),
    Needed('luigi.cmdline_parser:CmdlineParser.get_instance', 'know whether a command line holds'),
    Needed(
        'luigi.cmdline_parser:CmdlineParser._build_parser', 'say mistakes in one sentence', ('root_task', 'help_all')
    ),
    Needed('luigi.cmdline_parser:CmdlineParser._attempt_load_module', 'name a missing module', ('known_args',)),
    Needed('luigi.cmdline_parser:CmdlineParser._get_task_cls', 'find the task of a command line'),
    Needed('luigi.cmdline_parser:CmdlineParser._get_task_kwargs', 'keep secret values out of messages'),
    # the central scheduler
    Needed('luigi.rpc:RemoteScheduler()._rpc_retry_attempts', 'say soon that luigid cannot be reached'),
    Needed('luigi.rpc:RemoteScheduler()._rpc_retry_wait', 'wait while luigid restarts'),
    Needed('luigi.rpc:RemoteScheduler()._rpc_log_retries', 'say once that luigid cannot be reached'),
    Needed('luigi.rpc:RemoteScheduler()._connect_timeout', 'say soon that luigid cannot be reached'),
    Needed('luigi.rpc:RemoteScheduler.add_task', 'tell luigid how a task stands'),
    Needed('luigi.rpc:RemoteScheduler.dep_graph', 'say why luigid did not give a task out'),
    Needed('luigi.rpc:RemoteScheduler.fetch_error', 'show the error of another worker'),
    Needed('luigi.rpc:RemoteScheduler.is_paused', 'say that luigid is paused'),
    Needed('luigi.rpc:RemoteScheduler.is_pause_enabled', 'know that what answers is luigid'),
    Needed('luigi.rpc:RemoteScheduler.re_enable_task', 'give interrupted tasks back'),
    Needed('luigi.rpc:RemoteScheduler.forgive_failures', 'not count an interrupt as a failure'),
    Needed('luigi.rpc:RemoteScheduler.decrease_running_task_resources', 'free resources while a task runs'),
    Needed('luigi.rpc:RemoteScheduler.set_task_progress_percentage', 'tell luigid how far a task is'),
    Needed('luigi.rpc:RemoteScheduler.set_task_status_message', 'tell luigid how far a task is'),
    Needed('luigi.worker:TaskStatusReporter', 'pass on what luigid asks of a running task'),
    Needed('luigi.worker:TracebackWrapper', "tell luigid why a task's state is unknown", ('trace',)),
    Needed('luigi.worker:Worker()._id', 'name the worker to luigid'),
    Needed('luigi.worker:Worker()._config', 'wait as long as luigi is configured to'),
    Needed('luigi.worker:Worker()._scheduler', 'speak with luigid'),
    Needed('luigi.worker:Worker()._running_tasks', 'know what runs'),
    Needed('luigi.worker:Worker()._scheduled_tasks', 'know which tasks luigid knows'),
    Needed('luigi.worker:Worker()._task_completion_cache', 'let the plan say what is complete'),
    Needed('luigi.worker:Worker._add', 'let the plan say what is complete', ('task', 'is_complete')),
    Needed('luigi.worker:Worker._add_task', 'tell luigid how a task stands'),
    Needed('luigi.worker:Worker._add_task_batcher', 'run each task for itself', ('task',)),
    Needed('luigi.worker:Worker._email_task_failure', 'send mail of failures', ('task', 'formatted_traceback')),
    Needed('luigi.worker:Worker._run_task', 'run a task in its own way', ('task_id',)),
    Needed('luigi.worker:Worker._handle_next_task', 'wait for its own executor'),
    Needed('luigi.worker:Worker._keep_alive', 'wait for tasks of other workers', ('get_work_response',)),
    Needed('luigi.worker:Worker._sleeper', 'wait without holding up its own executor'),
    # cloudpickle
    Needed('cloudpickle:CloudPickler.reducer_override', 'write the qualified names of classes', ('obj',)),
    Needed('cloudpickle.cloudpickle:_make_skeleton_class', 'map pickled classes to those of the notebook'),
    Needed('cloudpickle.cloudpickle:_make_skeleton_enum', 'map pickled enumerations to those of the notebook'),
    Needed(
        'cloudpickle.cloudpickle:_class_setstate', 'leave the classes of the notebook as they are', ('obj', 'state')
    ),
    Needed('cloudpickle:CloudPickler.dispatch_table', 'keep the file names of code'),
    Needed('cloudpickle.cloudpickle:_DYNAMIC_CLASS_TRACKER_BY_CLASS', 'name classes that came inside of others'),
    Needed('cloudpickle.cloudpickle:_DYNAMIC_CLASS_TRACKER_BY_ID', 'find classes that came inside of others'),
    # IPython
    Needed('IPython.core.interactiveshell:InteractiveShell().Completer.custom_matchers', 'complete task names'),
    Needed('IPython.core.interactiveshell:InteractiveShell().InteractiveTB.structured_traceback', 'draw tracebacks'),
    Needed('IPython.core.interactiveshell:InteractiveShell().ast_node_interactivity', 'display as cells do'),
    Needed('IPython.core.interactiveshell:InteractiveShell().compile.ast_parse', 'run %%kart cells'),
    Needed('IPython.core.interactiveshell:InteractiveShell().compile.cache', 'name a %%kart cell', ('raw_code',)),
    Needed('IPython.core.interactiveshell:InteractiveShell().compile.format_code_name', 'call a file Cell In[3]'),
    Needed('IPython.core.interactiveshell:InteractiveShell().configurables', 'take magics back'),
    Needed('IPython.core.interactiveshell:InteractiveShell().display_pub.publish', 'replace what it has shown'),
    Needed('IPython.core.interactiveshell:InteractiveShell().displayhook.exec_result', 'number a %%kart cell'),
    Needed('IPython.core.interactiveshell:InteractiveShell().magics_manager.magics', 'take magics back'),
    Needed('IPython.core.interactiveshell:InteractiveShell().magics_manager.registry', 'take magics back'),
    Needed('IPython.core.interactiveshell:InteractiveShell().transform_ast', 'run %%kart cells'),
    Needed('IPython.core.interactiveshell:InteractiveShell().transform_cell', 'run %%kart cells'),
    Needed('IPython.core.interactiveshell:InteractiveShell().user_ns_hidden', 'complete names of the notebook'),
    Needed('IPython.core.interactiveshell:ExecutionInfo().raw_cell', 'see which classes a cell defines'),
    Needed('IPython.core.displayhook:DisplayHook.semicolon_at_end_of_expression', 'show no value after a semicolon'),
    Needed('IPython.core.completer:context_matcher', 'complete task names'),
    Needed('IPython.extensions.autoreload:AutoreloadMagics()._reloader.modules', 'know what %aimport watches'),
    # executors
    Needed('concurrent.futures:ThreadPoolExecutor()._max_workers', 'fill an executor, and no more'),
    Needed('loky.process_executor:ProcessPoolExecutor', 'start worker processes', ('context', 'env')),
    Needed('loky.backend:get_context', 'start worker processes', ('method',)),
    Needed('loky.backend.utils:kill_process_tree', 'end a worker with what it has started', ('process',)),
    Needed('distributed:Client.scheduler_info', 'count the workers of a cluster', ('n_workers',)),
    # Python
    Needed('argparse:ArgumentParser()._actions', 'name the options near to one that is not there'),
    Needed('types:CodeType._varname_from_oparg', 'read the names of local variables from instructions'),
    Needed('abc:_get_dump', 'know the classes that were registered with an abstract class'),
    Needed('importlib:__spec__._initializing', 'tell whether the body of a module still runs'),
    Needed('threading:_shutdown', 'wait for the threads that a task has left in a worker that ends'),
    Needed('atexit:_run_exitfuncs', 'run what a task has registered in a worker that ends'),
    Needed('os:environ._data', 'look at an environment variable with each task'),
    Needed('pickle:_Pickler', "write pickles under gokart's names"),
    Needed('pickle:_Unpickler', 'read pickles without running anything'),
    Needed('subprocess:_args_from_interpreter_flags', 'start workers with the options of this interpreter'),
)

#: Private names that are used outside of `kartnb/_luigi.py`, and why that is right.
EXCEPTIONS = {
    '_fields': 'documented, of named tuples',
    '_asdict': 'documented, of named tuples',
    '_replace': 'documented, of named tuples',
    '_repr_html_': "documented, of IPython's display protocol",
    '_repr_mimebundle_': "documented, of IPython's display protocol",
    '_render_traceback_': "documented, of IPython's tracebacks",
    '_exit': 'documented, of os',
    '_get_running_loop': 'documented, in Extending asyncio',
    '_set_running_loop': 'documented, in Extending asyncio',
    '_enter_task': 'documented, in Extending asyncio',
    '_leave_task': 'documented, in Extending asyncio',
    '__fbufsize': 'documented, of the C library',
    '__flbf': 'documented, of the C library',
    '_namespace_at_class_time': 'luigi writes it into each class',
    '_visible_in_registry': 'what TaskOnKart sets, for luigi to read',
    '_parser_kwargs': "a parameter class overrides it, to take true or false on luigi's command line",
    '_warn_on_wrong_param_type': 'parameter classes override it, to check tasks',
}
#: What Python and traitlets write into classes.
HOUSEKEEPING = {'_abc_impl', *vars(traitlets.HasTraits)}
#: Bases from here have nothing to hide.
WITHOUT_SECRETS = ('abc', 'builtins', 'enum', 'kartnb', 'typing')
#: What classes do not take for their own, wherever it comes from: luigi makes the second where it warns.
WRITTEN_INTO_CLASSES = {'_abc_impl', '_unconsumed_params'}
ASKING = ('getattr', 'hasattr', 'setattr', 'delattr')


@pytest.mark.parametrize('needed', NEEDED, ids=lambda needed: needed.name)
def test_a_release_that_moves_a_name_is_told(needed: Needed) -> None:
    needed.check()


def test_the_sentence_names_the_release_the_name_and_what_for() -> None:
    version = importlib.metadata.version('luigi')
    with pytest.raises(pytest.fail.Exception) as moved:
        Needed('luigi:Task._gone', 'do something').check()
    with pytest.raises(pytest.fail.Exception) as changed:
        Needed('luigi.worker:Worker._add', 'do something', ('task', 'gone')).check()
    assert str(moved.value) == f'luigi {version} no longer has Task._gone, which kartnb needs to do something.'
    assert str(changed.value) == f'luigi {version} takes no gone in Worker._add, which kartnb needs to do something.'


def test_code_is_made_of_what_cloudpickle_gives_and_its_file_name() -> None:
    code = inspect.unwrap(_release).__code__
    found = by_value.ByValuePickler(io.BytesIO()).reduce_code(code)
    names = ('co_filename', 'co_name', 'co_qualname', 'co_firstlineno', 'co_code', 'co_consts', 'co_linetable')
    made = found[0](*found[1])
    assert {name: getattr(made, name) for name in names} == {name: getattr(code, name) for name in names}


def test_every_private_name_has_a_test(repository: Path) -> None:
    tested = {part for needed in NEEDED for part in needed.name.partition(':')[2].split('.')}
    tree = ast.parse((repository / 'kartnb' / '_luigi.py').read_text())
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    methods = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    used = {name for _, name in _used(tree)} | set(filter(_is_private, texts | methods))
    assert used - tested - EXCEPTIONS.keys() == WRITTEN_INTO_CLASSES


def test_only_one_module_touches_private_names(repository: Path) -> None:
    trees = _other_modules(repository)
    defined = {path: {*_defined(tree)} for path, tree in trees.items()}
    own = set().union(*defined.values())
    others = {part for needed in NEEDED for part in needed.name.partition(':')[2].split('.') if _is_private(part)}
    found = {
        f'{path}:{line} {name}'
        for path, tree in trees.items()
        for line, name in _used(tree)
        if name not in EXCEPTIONS and (name not in own or name in others - defined[path])
    }
    assert found == set()


def test_no_class_has_a_private_name_of_a_base_of_another_package() -> None:
    assert {
        f'{cls.__module__}.{cls.__qualname__}.{name}' for cls, name in _overridden() if name not in EXCEPTIONS
    } == set()


def test_each_exception_is_still_one(repository: Path) -> None:
    used = {name for tree in _other_modules(repository).values() for _, name in _used(tree)}
    assert {*EXCEPTIONS} - used - {name for _, name in _overridden()} == set()


def _other_modules(repository: Path) -> dict[str, ast.Module]:
    files = [path for path in (repository / 'kartnb').rglob('*.py') if path.name != '_luigi.py']
    return {str(path.relative_to(repository)): ast.parse(path.read_text()) for path in files}


def _overridden() -> Iterator[tuple[type, str]]:
    """The private names of classes of kartnb that a base of another package has too."""
    for module in pkgutil.walk_packages(kartnb.__path__, 'kartnb.'):
        for cls in vars(importlib.import_module(module.name)).values():
            if isinstance(cls, type) and cls.__module__ == module.name != 'kartnb._luigi':
                bases = [base for base in cls.__mro__ if base.__module__.partition('.')[0] not in WITHOUT_SECRETS]
                names = {name for base in bases for name in vars(base)} & {*vars(cls)} - HOUSEKEEPING
                yield from ((cls, name) for name in names if _is_private(name))


def _release(package: str) -> str:
    try:
        return f'{package} {importlib.metadata.version(package)}'
    except importlib.metadata.PackageNotFoundError:
        return f'Python {platform.python_version()} ({package})'


def _part(owner: Any, name: str) -> Any:
    return MADE[name]() if name in MADE else getattr(owner, name)


def _is_private(name: str) -> bool:
    return len(name) > 1 and name.startswith('_') and not name.endswith('__')


def _used(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The private names that code asks of objects and modules."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.ImportFrom) and not (node.module or '').startswith('kartnb'):
            names = [*(node.module or '').split('.'), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ASKING:
            names = [str(node.args[1].value)] if isinstance(node.args[1], ast.Constant) else []
        yield from ((node.lineno, name) for name in names if _is_private(name))  # type: ignore[attr-defined]


def _defined(tree: ast.AST) -> Iterator[str]:
    """The names that code gives: to functions, classes, variables, and attributes of `self`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield from [node.attr] if isinstance(node.value, ast.Name) and node.value.id in ('self', 'cls') else []
