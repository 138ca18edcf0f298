"""Whoever wrote a workspace, looking at it runs nothing, writes nothing outside, and ends in a view or a KartError.

`LOOKS` has an entry for each public function, method and magic that looks at a workspace, `VALUES` names those that
build, or load values on request, and `NO_LOOKS` the rest: a public name that is in none of them fails a test.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import pickle
import re
import shutil
import signal
import struct
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import luigi
import pytest
from IPython.core.interactiveshell import InteractiveShell
from luigi.task_register import Register

import kartnb
from kartnb.compat.thunderbolt import Thunderbolt
from kartnb.errors import HistoryError
from kartnb.storage.peek import unread_types

resource = pytest.importorskip('resource', reason='limits of memory are as POSIX has them')

#: A look that takes longer hangs.
_PATIENCE = 60
_MOST_MEMORY = 2 << 30


class Source(kartnb.TaskOnKart[Any]):
    n = luigi.IntParameter(default=2)

    def run(self) -> None:
        print('counting')
        self.task_log['n'] = self.n
        self.dump({'n': self.n})


class Table(kartnb.TaskOnKart[Any]):
    on_code_change = 'rerun'
    text = luigi.Parameter(default='a')
    source = kartnb.TaskInstanceParameter(default=Source(n=3))

    def output(self) -> Any:
        return {'value': self.make_target('value.pkl'), 'lines': self.make_target('lines.txt')}

    def run(self) -> None:
        self.dump(self.load('source'), 'value')
        self.dump(['a', self.text], 'lines')


class Fails(kartnb.TaskOnKart[Any]):
    def run(self) -> None:
        print('about to fail')
        raise ValueError('as it does')


@dataclass(eq=False)
class Place:
    """A workspace and a directory beside it, with what looks at them."""

    root: Path
    shell: InteractiveShell

    @property
    def path(self) -> str:
        return str(self.root / 'resources')

    @property
    def tasks(self) -> list[Any]:
        return [Table(), Source(), Fails()]

    @cached_property
    def runs(self) -> kartnb.Runs:
        return kartnb.Workspace(self.path).runs()

    @property
    def marker(self) -> Path:
        return self.root / 'outside/it-ran'

    def magic(self, name: str, line: str) -> Any:
        self.shell.push({cls.__name__: cls for cls in (Source, Table, Fails)})
        return self.shell.run_line_magic(name, line)

    def files(self) -> list[Path]:
        return [path for path in (self.root / 'resources').rglob('*') if path.is_file()]

    def outside(self) -> dict[str, bytes]:
        """What is beside the workspace, by name."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in self.root.rglob('*')
            if path.is_file() and 'resources' not in path.parts and 'ipython' not in path.parts
        }


def _each(look: Callable[[Any], Any]) -> Callable[[Place], Any]:
    return lambda place: [_allowed(look, task) for task in place.tasks]


def _allowed(look: Callable[..., Any], *given: Any) -> Any:
    try:
        return look(*given)
    except kartnb.KartError:
        return None


def _clean(place: Place) -> Any:
    return [kartnb.clean(Source(n=2), workspace=place.path), kartnb.clean(workspace=place.path, keep_number=1)]


def _diffs(place: Place) -> Any:
    runs = place.runs
    pairs = [(one, other) for one in runs[:3] for other in runs[:2]]
    tasks = [(Table(), Table(text='b')), (Table(),), (Source(), Source(n=3)), (Fails(),)]
    return [_allowed(lambda *pair: kartnb.diff(*pair, all=True), *pair) for pair in [*pairs, *tasks]]


def _interact(place: Place) -> Any:
    return [
        kartnb.interact(Table, text=['a', 'b']),
        kartnb.interact(Source, n=(1, 3), output=lambda value: value['n']),
    ]


def _points(place: Place) -> Any:
    planned = kartnb.sweep(Table, text=['a', 'b'], dry_run=True)
    return [planned, *planned.points, planned.plan, planned.estimate, planned.partial()]


def _restored(place: Place) -> Any:
    ids = {path.name.split('_')[-1].partition('.')[0] for path in place.files() if 'task_params' in path.parts}
    return [_allowed(cls.restore, uid) for cls in (Source, Table) for uid in sorted(ids)]


LOOKS: dict[str, Callable[[Place], Any]] = {
    'clean': _clean,
    'diff': _diffs,
    'graph': _each(kartnb.graph),
    'inspect': _each(kartnb.inspect),
    'interact': _interact,
    'logs': _each(kartnb.logs),
    'make_task_info_as_tree_str': _each(lambda task: kartnb.make_task_info_as_tree_str(task, details=True)),
    'make_tree_info': _each(lambda task: kartnb.make_tree_info(task, details=True)),
    'outputs': _each(kartnb.outputs),
    'plan': _each(kartnb.plan),
    'why': _each(kartnb.why),
    'Cleaning.remove': lambda place: [found.remove() for found in _clean(place)],
    'delete_local_unnecessary_outputs': lambda place: kartnb.delete_local_unnecessary_outputs(Source()),
    'restore_result': lambda place: [
        *(_allowed(kartnb.restore_result, task) for task in place.tasks),
        *(_allowed(kartnb.restore_result, run) for run in place.runs if run.state == 'superseded'),
    ],
    'Graph.save': _each(lambda task: kartnb.graph(task).save('resources/graph.svg')),
    'Graph.to_dataframe': _each(lambda task: kartnb.graph(task).to_dataframe()),
    'Inspection.to_dict': _each(lambda task: json.dumps(kartnb.inspect(task).to_dict())),
    'InMemoryTarget.peek': lambda place: kartnb.make_in_memory_target('never made').exists(),
    'Logs.filter': _each(lambda task: kartnb.logs(task).filter(grep='a', level='INFO')),
    'Logs.lines_of': _each(lambda task: [*kartnb.logs(task)]),
    'Logs.refresh': _each(lambda task: kartnb.logs(task).refresh()),
    'Logs.to_dataframe': _each(lambda task: kartnb.logs(task).to_dataframe()),
    'Outputs.filter': _each(lambda task: kartnb.outputs(task).filter('a', existing=True)),
    'Outputs.sort': _each(lambda task: [kartnb.outputs(task).sort(by) for by in ('size', 'modified', 'parameters')]),
    'Outputs.to_dataframe': _each(lambda task: kartnb.outputs(task).to_dataframe()),
    'Plan.to_dataframe': _each(lambda task: kartnb.plan(task).to_dataframe()),
    'Run.targets': lambda place: [_allowed(run.targets) for run in place.runs],
    'Run.require_result': lambda place: [_allowed(run.require_result) for run in place.runs],
    'Runs.filter': lambda place: place.runs.filter('T*', since='2 days', where={'text': 'a'}),
    'Runs.sort': lambda place: [place.runs.sort(by) for by in ('when', 'seconds', 'size', 'task', 'state', 'id')],
    'Runs.to_dataframe': lambda place: place.runs.to_dataframe(),
    'SweepPlan.partial': _points,
    'SweepPoint.seconds': lambda place: [point.seconds for point in _points(place)[1:3]],
    'SweepResult.to_dataframe': lambda place: _points(place)[-1].to_dataframe(),
    'TaskOnKart.complete': _each(lambda task: task.complete()),
    'TaskOnKart.get_info': _each(lambda task: task.get_info()),
    'TaskOnKart.get_processing_time': _each(lambda task: task.get_processing_time()),
    'TaskOnKart.get_task_log': _each(lambda task: type(task)(**task.param_kwargs).get_task_log()),
    'TaskOnKart.get_task_params': _each(lambda task: task.get_task_params()),
    'TaskOnKart.make_unique_id': _each(lambda task: task.make_unique_id()),
    'TaskOnKart.restore': _restored,
    'Thunderbolt.get_task_df': lambda place: Thunderbolt(place.path).get_task_df(all_data=True),
    'Workspace.peek': lambda place: [
        kartnb.preview(_allowed(kartnb.Workspace(place.path).peek, run)) for run in place.runs
    ],
    'Workspace.run': lambda place: [_allowed(kartnb.Workspace(place.path).run, run.id) for run in place.runs[:3]],
    'Workspace.runs': lambda place: [kartnb.Workspace(place.path), kartnb.Workspace(place.path).runs()],
    'Workspace.task': lambda place: [_allowed(kartnb.Workspace(place.path).task, run) for run in place.runs],
    'Workspace.to_dataframe': lambda place: kartnb.Workspace(place.path).to_dataframe(),
    '%kart_clean': lambda place: place.magic('kart_clean', 'Source()'),
    '%kart_diff': lambda place: place.magic('kart_diff', "Table() Table(text='b')"),
    '%kart_graph': lambda place: place.magic('kart_graph', 'Table()'),
    '%kart_interact': lambda place: place.magic('kart_interact', 'Source n=1:3'),
    '%kart_log': lambda place: place.magic('kart_log', 'Fails()'),
    '%kart_output': lambda place: place.magic('kart_output', 'Table()'),
    '%kart_runs': lambda place: place.magic('kart_runs', ''),
    '%kart_why': lambda place: place.magic('kart_why', 'Table()'),
    '%%kart': lambda place: place.shell.run_cell_magic('kart', '', 'class Later(TaskOnKart):\n    pass'),
}
#: Builds and what loads values on request: docs/history.md lists them.
VALUES = [
    '%kart_build',
    '%kart_sweep',
    'BackgroundBuild.result',
    'BackgroundSweep.partial',
    'BackgroundSweep.plot',
    'BackgroundSweep.result',
    'BackgroundSweep.to_dataframe',
    'FileProcessor.load',
    'InMemoryTarget.load',
    'Interactive.moved',
    'Interactive.refresh',
    'Interactive.result',
    'Output.load',
    'Run.load',
    'SweepPlan.build',
    'SweepPlan.finish',
    'SweepPlan.go',
    'SweepPlan.measure',
    'SweepPlan.run',
    'SweepPoint.load',
    'TaskOnKart.load',
    'TaskOnKart.load_generator',
    'Thunderbolt.get_data',
    'Thunderbolt.load',
    'Workspace.load',
    'build',
    'build_async',
    'load_result',
    'preview',
    'run',
    'sweep',
]
NO_LOOKS = [
    '%kart_accept',
    '%kart_adopt',
    'FileParameter.normalize',
    'ListTaskInstanceParameter.normalize',
    'TaskInstanceParameter.normalize',
    'TaskOnKart.reads',
    'TaskOnKart.rng',
    'accept',
    'adopt',
    'BackgroundBuild.add_done_callback',
    'BackgroundBuild.done',
    'BackgroundBuild.follow',
    'BackgroundBuild.heard',
    'BackgroundBuild.stop',
    'BackgroundBuild.unfollow',
    'BackgroundBuild.wait',
    'BackgroundSweep.add_done_callback',
    'BackgroundSweep.done',
    'BackgroundSweep.follow',
    'BackgroundSweep.stop',
    'BackgroundSweep.wait',
    'FileProcessor.check',
    'FileProcessor.dump',
    'FileProcessor.format',
    'FileProcessor.peek',
    'FileProcessor.small_bytes',
    'Graph.counts',
    'Graph.downstream',
    'Graph.position',
    'Graph.to_run',
    'Graph.upstream',
    'Graph.with_states',
    'InMemoryTarget.dump',
    'InMemoryTarget.exists',
    'InMemoryTarget.last_modification_time',
    'InMemoryTarget.path',
    'InMemoryTarget.remove',
    'InMemoryTarget.undo_point',
    'Interactive.begin',
    'Interactive.save',
    'ListTaskInstanceParameter.parse',
    'ListTaskInstanceParameter.serialize',
    'PandasTypeConfig.check',
    'PandasTypeConfig.type_dict',
    'Plan.counts',
    'Plan.downstream',
    'Plan.position',
    'Plan.to_run',
    'Plan.upstream',
    'Plan.with_states',
    'SerializableParameter.parse',
    'SerializableParameter.serialize',
    'SweepPlan.follow',
    'SweepPlan.stop',
    'SweepResult.best',
    'SweepResult.plot',
    'SweepResult.ranked',
    'SweepResult.with_metric',
    'TaskInstanceParameter.parse',
    'TaskInstanceParameter.serialize',
    'TaskOnKart.clone',
    'TaskOnKart.dump',
    'TaskOnKart.from_str_params',
    'TaskOnKart.get_code',
    'TaskOnKart.get_own_code',
    'TaskOnKart.get_param_values',
    'TaskOnKart.get_params',
    'TaskOnKart.input',
    'TaskOnKart.is_task_on_kart',
    'TaskOnKart.make_large_data_frame_target',
    'TaskOnKart.make_model_target',
    'TaskOnKart.make_target',
    'TaskOnKart.make_task_instance_dictionary',
    'TaskOnKart.output',
    'TaskOnKart.requires',
    'TaskOnKart.task_id',
    'TaskOnKart.to_str_params',
    'TaskOnKart.trigger_event',
    'TaskOnKart.try_set_seed',
    'WorkerSchedulerFactory.create_local_scheduler',
    'WorkerSchedulerFactory.create_remote_scheduler',
    'WorkerSchedulerFactory.create_worker',
    'ZonedDateSecondParameter.normalize',
    'ZonedDateSecondParameter.parse',
    'ZonedDateSecondParameter.serialize',
    'add_config',
    'as_gokart',
    'inherits_config_params',
    'load_ipython_extension',
    'lossless',
    'make_in_memory_target',
    'register_format',
    'register_preview',
    'slider',
    'unload_ipython_extension',
    'unregister_format',
    'unregister_preview',
]


def _public_calls() -> set[str]:
    """Every public function, method and magic; classes that are no views count by their methods."""
    found = {f'%{name}' for name in _magics()['line'] if name.startswith('kart_')}
    found |= {f'%%{name}' for name in _magics()['cell'] if name.startswith('kart') and name not in _magics()['line']}
    for name, value in [*((name, getattr(kartnb, name)) for name in kartnb.__all__), ('Thunderbolt', Thunderbolt)]:
        if inspect.isclass(value) and issubclass(value, kartnb.TaskOnKart) and value is not kartnb.TaskOnKart:
            continue
        if inspect.isclass(value) and not issubclass(value, BaseException):
            own = [cls for cls in value.__mro__ if cls.__module__.startswith('kartnb.')]
            members = {member for cls in own for member in vars(cls) if not member.startswith('_')}
            found |= {f'{name}.{member}' for member in members if inspect.isroutine(getattr(value, member, None))}
        elif inspect.isfunction(value):
            found.add(name)
    return found


def _magics() -> dict[str, dict[str, Any]]:
    shell = InteractiveShell.instance()
    found: dict[str, dict[str, Any]] = shell.magics_manager.magics
    return found


def test_every_public_name_is_a_look_or_known_to_be_none(place: Place) -> None:
    calls = _public_calls()
    known = {*LOOKS, *VALUES, *NO_LOOKS}
    assert sorted(calls - known) == []
    assert sorted(known - calls) == []


# ----- the workspace --------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with results, replaced results, a failure, logs of gokart alone, and a search."""
    pytest.importorskip('optuna')
    root = tmp_path_factory.mktemp('original')
    with contextlib.chdir(root):
        kartnb.build(Table(), return_value=False)
        kartnb.build(Table(), rerun=True, return_value=False)
        kartnb.build(Table(text='b'), return_value=False)
        kartnb.build(Source(), return_value=False)
        with pytest.raises(kartnb.GokartBuildError):
            kartnb.build(Fails())
        kartnb.sweep(Source, n=[2, 3], metric='n', sampler='optuna', trials=2)
        for record in (root / 'resources/log/run_record').rglob('*Source_*'):
            if Source(n=2).make_unique_id() in record.name:
                record.unlink()  # as gokart leaves it
    kinds = {path.relative_to(root / 'resources').parts[1] for path in (root / 'resources/log').rglob('*')}
    assert {'run_record', 'superseded', 'sweep', 'task_log', 'processing_time', 'task_params'} <= kinds
    return root


@pytest.fixture
def place(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: InteractiveShell) -> Place:
    shutil.copytree(original / 'resources', tmp_path / 'resources')
    (tmp_path / 'outside').mkdir()
    (tmp_path / 'outside/canary.pkl').write_bytes(b'still here')
    monkeypatch.chdir(tmp_path)
    Register.clear_instance_cache()  # the tasks that made the workspace know their logs
    return Place(tmp_path, shell)


@contextlib.contextmanager
def _limits() -> Iterator[None]:
    """Bounds of time and memory, as errors that nothing takes for one of the file's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path('/proc/self/statm').read_text().split()[0]) * os.sysconf('SC_PAGE_SIZE')

    def hang(*_: object) -> None:
        pytest.fail(f'hangs for {_PATIENCE} seconds')

    before = signal.signal(signal.SIGALRM, hang)
    resource.setrlimit(resource.RLIMIT_AS, (used + _MOST_MEMORY, hard))
    signal.alarm(_PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _show(value: Any) -> None:
    """All that a notebook or a terminal would draw of a value, and all of its public properties."""
    if isinstance(value, list | tuple) and not hasattr(value, '_repr_html_'):
        for item in value:
            _show(item)
        return
    repr(value).encode('utf-8', 'backslashreplace')
    draw = getattr(value, '_repr_html_', None)
    if draw is not None:
        (draw() or '').encode()
    if type(value).__module__.startswith('kartnb.'):
        for name, _ in inspect.getmembers(type(value), lambda member: isinstance(member, property)):
            if not name.startswith('_'):
                _allowed(getattr, value, name)


def _look(place: Place) -> None:
    """Look at a workspace in every way; removing and restoring comes last."""
    last = ('restore_result', 'Cleaning.remove', 'delete_local_unnecessary_outputs')
    outside = place.outside()
    problems = []
    for name in [*(name for name in LOOKS if name not in last), *last]:
        try:
            with _limits():
                _show(LOOKS[name](place))
        except kartnb.KartError:
            pass  # one sentence that says what is wrong
        except (Exception, pytest.fail.Exception) as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            problems.append(f'{name}: {type(error).__name__}: {str(error)[:200]} ({where.filename}:{where.lineno})')
        if place.marker.exists():
            problems.append(f'{name} has run code of the workspace')
            place.marker.unlink()
    assert problems == []
    assert place.outside() == outside


# ----- pickles --------------------------------------------------------------------------------------------------------


class _Call:
    """Pickles as a call, as an attacker would write it."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


def _nested(depth: int) -> bytes:
    return b'\x80\x04' + b']' * depth + b'a' * (depth - 1) + b'.'


def _doubled(levels: int) -> bytes:
    """Opcodes that make of the value on the stack a list that holds it twice, of that one another, and so on."""
    return b''.join(b'q' + bytes([i]) + b'(h' + bytes([i]) + b'l' for i in range(levels))


def _copies(times: int) -> bytes:
    """One large list, and so many copies of it that they take more than `_MOST_MEMORY`."""
    big = b'(' + b'N' * 20_000 + b'lq\x00'
    return b'\x80\x04c__builtin__\nlist\nq\x01' + big + b'(' + b'h\x01h\x00\x85R' * times + b't.'


def _in_itself() -> bytes:
    nest: list[Any] = []
    nest.append(nest)
    return pickle.dumps({'n': nest, 'seed': nest})


PICKLES: dict[str, Callable[[Path], bytes]] = {
    'a call': lambda marker: pickle.dumps(_Call(os.system, f'touch {marker}'), 0),
    'a call inside': lambda marker: pickle.dumps({'n': [_Call(Path.touch, marker)], 'seed': _Call(Path.touch, marker)}),
    'a call for each': lambda marker: pickle.dumps({'file_path': _Call(eval, f'open({str(marker)!r}, "w")')}, 2),
    'deeply nested': lambda _: _nested(3_000),
    'deeply nested values': lambda _: b'\x80\x04}\x8c\x01n' + _nested(3_000)[2:-1] + b's.',
    'shared without end': lambda _: b'\x80\x04}(\x8c\x01nN' + _doubled(60) + b'u.',
    'in itself': lambda _: _in_itself(),
    'many copies': lambda _: _copies(15_000),
    'a huge number': lambda _: pickle.dumps(1 << 100_000),
    'huge numbers inside': lambda _: pickle.dumps({'seed': 1 << 100_000, 'n': -(1 << 100_000), 1 << 100_000: 1}),
    'not a number': lambda _: pickle.dumps(float('nan')),
    'no end of a number': lambda _: pickle.dumps(float('-inf')),
    'a text': lambda _: pickle.dumps('\ud800\x1b[2J', 4),
    'numbers as parameters': lambda _: pickle.dumps({'n': 3, 'text': None, 5: 'x', 'file_path': [1, None, '../..']}),
    'other parameters': lambda _: pickle.dumps({'n': 'x' * 100, 'text': '\ud800', 'source': '[' * 10_000}),
    'paths': lambda _: pickle.dumps(
        {'file_path': ['/etc/passwd', '../outside/canary.pkl', '/dev/zero', 's3://a/b.pkl']}
    ),
    'a size that is not there': lambda _: b'\x80\x05\x96' + struct.pack('<Q', 1 << 60) + b'ab.',
    'nothing': lambda _: b'',
    'no pickle': lambda _: b'\xff\xfe[' * 100,
    'more than is read': lambda _: pickle.dumps(list(range(1 << 20))),
}


@pytest.mark.parametrize('kind', PICKLES)
def test_hostile_pickles_in_every_place(kind: str, place: Place) -> None:
    content = PICKLES[kind](place.marker)
    for path in place.files():
        if path.suffix == '.pkl':
            path.write_bytes(content)
    _look(place)


def test_hostile_pickles_under_other_names(place: Place) -> None:
    content = PICKLES['a call'](place.marker)
    for path in place.files():
        path.write_bytes(content)
    _look(place)


# ----- JSON -----------------------------------------------------------------------------------------------------------

DOCUMENTS: dict[str, bytes] = {
    'nested lists': b'[' * 10_000 + b']' * 10_000,
    'nested dicts': b'{"parts": ' * 10_000 + b'1' + b'}' * 10_000,
    'never closed': b'[' * 1_000_000,
    'a list': b'[]',
    'null': b'null',
    'a text': b'"text"',
    'a huge number': b'1' * 5_000,
    'not a number': b'NaN',
    'twice': b'{"format_version": 1, "format_version": {}, "parts": [], "parts": 5, "trials": [], "format": [1]}',
    'a lone surrogate': b'"\\ud800"',
    'no text': b'\xff\xfe\x00',
    'nothing': b'',
    'spaces': b' ' * (5 << 20),
    'shallow': json.dumps({'format_version': 1, 'parts': [{}, [], {'name': [], 'kind': [], 'text': 1}]}).encode(),
}
VALUES_OF_JSON: dict[str, str] = {
    'null': 'null',
    'true': 'true',
    'a negative number': '-1',
    'no end of a number': '1e999',
    'not a number': 'NaN',
    'a large number': '1' + '0' * 400,
    'a large fraction': '1e300',
    'a huge number': '1' * 5_000,
    'nothing': '""',
    'a long text': json.dumps('x' * 20_000),
    'a lone surrogate': '"\\ud800\\u001b[2J<script>"',
    'a path above': '"../outside/canary.pkl"',
    'a path to elsewhere': '"/etc/passwd"',
    'an address': '"s3://nowhere.invalid/a.pkl"',
    'a null character': '"a\\u0000b"',
    'the first year': '"0001-01-01T00:00:00+14:00"',
    'the last year': '"9999-12-31T23:59:59-14:00"',
    'a list': '[]',
    'a list of lists': '[[], [1], {"path": 1}]',
    'a dict': '{}',
    'a nested list': '[' * 900 + ']' * 900,
}


@pytest.mark.parametrize('kind', DOCUMENTS)
def test_hostile_documents_in_every_place(kind: str, place: Place) -> None:
    for path in place.files():
        if path.suffix in ('.json', '.code', '.txt', '.log'):
            path.write_bytes(DOCUMENTS[kind])
    _add_names(place, DOCUMENTS[kind])
    _look(place)


def _add_names(place: Place, content: bytes) -> None:
    """Files with strange names beside the records, and where a run that has not ended would leave them."""
    records = [path for path in place.files() if 'run_record' in path.parts and path.suffix == '.json']
    for record in records:
        stem = record.name.rpartition('~')[0]
        for end in (
            '~running.json',
            '~.json',
            '~r.json',
            '~failed.json',
            '~r-----------.json',
            '~r0-1-2-3-k-4-5-6.json',
        ):
            record.with_name(f'{stem}{end}').write_bytes(content)
    directory = records[0].parent
    for name in (
        '~.json',
        '_~r.json',
        '~running.json',
        '_.log',
        '.code',
        '\x1b[2J<b>_0~r1.json',
        'a\nb_0~r1.json',
        '%s{}',
    ):
        (directory / name).write_bytes(content)
    if os.name == 'posix':
        Path(os.fsdecode(os.fsencode(directory) + b'/\xff_0~r1.json')).write_bytes(content)
        (directory / 'loop_0~r1.json').symlink_to('loop_0~r1.json')
    (directory / 'Directory_0~r1.json').mkdir()


@pytest.mark.parametrize('kind', VALUES_OF_JSON)
def test_hostile_values_in_every_member(kind: str, place: Place) -> None:
    """Members have the value in records of other results; in those that count, all of its type have it at once."""
    value = VALUES_OF_JSON[kind]
    wanted = type(json.loads(value)) if len(value) < 4_000 else str
    _add_mutations(place, value, list(VALUES_OF_JSON).index(kind))
    for path in place.files():
        if path.suffix in ('.json', '.code') and not re.search('0{10}', str(path)):
            path.write_text(_replaced(json.loads(path.read_text()), wanted, value))
    _look(place)


def _replaced(document: Any, kind: type, value: str) -> str:
    """The text of a document in which every member of a type is another value."""
    alike = (int, float) if kind in (int, float) else (kind,)
    members = {
        name: value if type(member) in alike and name not in ('format_version', 'stem', 'record', 'result_id') else None
        for name, member in document.items()
    }
    written = [f'{json.dumps(name)}: {members[name] or json.dumps(document[name])}' for name in document]
    return '{' + ', '.join(written) + '}'


def _add_mutations(place: Place, value: str, turn: int) -> None:
    """Add copies of all documents in each of which one member has the value: every third one, others at each turn."""
    for path in place.files():
        if path.suffix not in ('.json', '.code'):
            continue
        document = json.loads(path.read_text())
        for number, name in list(enumerate(document))[turn % 3 :: 3]:
            text = (
                '{'
                + ', '.join(
                    f'{json.dumps(other)}: {value if other == name else json.dumps(document[other])}'
                    for other in document
                )
                + '}'
            )
            uid = f'{number:032x}'
            copy = path.with_name(re.sub('[0-9a-f]{32}', uid, path.name))
            if path.name == 'superseded.json':
                # each member of a manifest in a copy of all that is kept with it
                beside = path.parent.with_name(f'{number:012x}')
                shutil.copytree(path.parent, beside, dirs_exist_ok=True)
                copy = beside / path.name
                if name != 'result_id':
                    text = text.replace(f'"{path.parent.name}"', f'"{beside.name}"')
            if copy != path:
                copy.write_text(text)


# ----- manifests, logs and links --------------------------------------------------------------------------------------


def test_manifests_that_name_other_places_restore_and_remove_nothing_there(place: Place) -> None:
    outside = str(place.root / 'outside/canary.pkl')
    evil = [outside, '../../../../outside/canary.pkl', '..', '.', '', 'a/../../b', '0-../../x', '\x00', '0-\\..\\x']
    for path in place.files():
        if path.name != 'superseded.json' or path.parent.name == 'log':
            continue
        document = json.loads(path.read_text())
        for number, name in enumerate(evil):
            beside = path.parent.with_name(f'{number:012x}')
            for kind in ('files', 'names', 'logs', 'records', 'directories'):
                changed = {**document, 'result_id': beside.name}
                if kind == 'files':
                    changed['files'] = [[name, kept] for _, kept in document['files']]
                elif kind == 'names':
                    changed['files'] = [[place, name] for place, _ in document['files']]
                elif kind == 'logs':
                    changed['logs'] = [[f'log/{name}', kept] for _, kept in document['logs']] + [[name, name]]
                elif kind == 'records':
                    changed['record'] = name
                else:
                    changed['result_id'] = name
                shutil.copytree(path.parent, beside, dirs_exist_ok=True)
                (beside / path.name).write_text(json.dumps(changed))
                _allowed(kartnb.restore_result, Table(), beside.name)
                shutil.rmtree(beside, ignore_errors=True)
        path.parent.with_name('elsewhere').symlink_to(place.root / 'outside')
    _look(place)
    assert place.outside() == {'outside/canary.pkl': b'still here'}


def test_captured_lines_of_any_kind(place: Place) -> None:
    lines = [
        '# kartnb captured log 1, build \x1b[2J',
        '0001-01-01T00:00:00+00:00\tstdout\ttoo early',
        '9999-12-31T23:59:59-12:00\tstderr\ttoo late',
        f'2024-01-01T00:00:00+00:00\t{"9" * 3_000} a\ta level',
        f'2024-01-01T00:00:00+00:00\t-{"9" * 5_000} a\tno level',
        '2024-01-01\tINFO\twithout a zone',
        '2024-01-01T00:00:00+00:00\tnonsense\t<script>',
        '\t\t\t',
        'x' * 1_000_000,
    ]
    logs = [path for path in place.files() if path.suffix == '.log']
    assert logs
    for path in logs:
        path.write_bytes('\n'.join(lines).encode() + b'\n\xff\xfe')
    _look(place)


def test_links_and_directories_in_the_places_of_files(place: Place) -> None:
    for number, path in enumerate(place.files()):
        path.unlink()
        if number % 4 == 0:
            path.mkdir()
        elif number % 4 == 1:
            path.symlink_to(path.name)
        elif number % 4 == 2:
            path.symlink_to('/dev/zero')
        else:
            path.symlink_to(place.root / 'outside/canary.pkl')
    _look(place)


def test_files_that_are_longer_than_memory(place: Place) -> None:
    for path in place.files():
        with path.open('r+b') as file:
            file.truncate(1 << 40)  # with a hole, so that it takes no room
    _look(place)


# ----- what is read all the same --------------------------------------------------------------------------------------


def test_what_kartnb_and_gokart_log_comes_back_as_it_was(place: Place) -> None:
    import dill

    task = Table()
    logged = {
        'task_params': task.to_str_params(only_significant=True),
        'processing_time': 1.25,
        'task_log': {'file_path': ['a'], 'score': 0.5, 'steps': [1, (2, None)], 'names': {'a'}, 'when': b'x'},
    }
    for pickler in (pickle, dill):
        for kind, value in logged.items():
            path = Path(f'resources/log/{kind}/Table_{task.make_unique_id()}.pkl')
            path.write_bytes(pickler.dumps(value, protocol=4))
        assert task.get_task_params() == logged['task_params']
        assert (task.get_processing_time(), type(task.get_processing_time())) == (1.25, float)
        assert Table(text='a').get_task_log() == logged['task_log']
        assert Table.restore(task.make_unique_id()) == task


def test_a_task_log_with_an_object_names_what_has_to_be_loaded(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    path = Path(f'resources/log/task_log/Source_{Source().make_unique_id()}.pkl')
    path.write_bytes(pickle.dumps({'n': 2, 'error': ValueError('x')}))
    log = Source().get_task_log()
    assert (log['n'], unread_types(log)) == (2, ['builtins.ValueError'])
    assert f'kartnb.load_result({str(path)!r})' in caplog.text.replace('./resources', 'resources')
    assert repr(kartnb.load_result(str(path))['error']) == "ValueError('x')"


def test_values_are_compared_without_being_loaded_where_that_is_possible(place: Place) -> None:
    found = kartnb.diff(Source(n=2), Source(n=3))
    assert {'- "n": 2', '+ "n": 3'} <= {*found['value'].diffs[0].diff}
    for n in (2, 3):
        Path(Source(n=n).output().path()).write_bytes(pickle.dumps({'n': ValueError(str(n))}))
    unasked, asked = (kartnb.diff(Source(n=2), Source(n=3), values=values)['value'] for values in (False, True))
    assert (unasked.differs, asked.differs) == (None, True)
    with pytest.raises(HistoryError):
        kartnb.Workspace(place.path).peek('0123456789')


def test_controls_show_plain_values_at_once_and_load_others_when_asked(place: Place) -> None:
    plain = kartnb.interact(Source, n=(2, 3))
    assert plain.status is not None
    assert plain.status.is_loaded
    assert 'n: 2' in repr(plain)
    path = Path(Source(n=2).output().path())
    path.write_bytes(pickle.dumps({'n': _Call(Path.touch, place.marker)}))
    asked = kartnb.interact(Source, n=(2, 3))
    assert asked.status is not None
    assert not asked.status.is_loaded
    assert 'not loaded yet' in repr(asked)
    assert not place.marker.exists()
    asked.result()
    assert place.marker.exists()
