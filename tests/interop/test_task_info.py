"""gokart's trees and tables of tasks, and kartnb's of the same workspace: equal, and each reads the other's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TASKS = """
import importlib, io, logging, sys
import luigi

gokart = importlib.import_module(sys.argv[1])
if sys.argv[1] == 'gokart':
    from gokart.build import TaskDumpConfig, TaskDumpMode, TaskDumpOutputType
    from gokart.tree.task_info import dump_task_info_table, dump_task_info_tree, make_task_info_as_table
    from gokart.target import make_target
else:
    from kartnb.config import TaskDumpConfig, TaskDumpMode, TaskDumpOutputType
    from kartnb.planning.task_info import dump_task_info_table, dump_task_info_tree, make_task_info_as_table
    from kartnb.storage.targets import make_target


class Source(gokart.TaskOnKart):
    n = luigi.IntParameter(default=1)
    quiet = luigi.Parameter(default='x', significant=False)

    def run(self):
        self.task_log['rows'] = [1, {'a': 2.5}]
        self.dump(self.n)


class Two(gokart.TaskOnKart):
    def requires(self):
        return dict(one=Source(), more=[Source(n=2), Source()], none=[])

    def output(self):
        return {'a': self.make_target('two/a.csv'), 'b': self.make_target('two/b.txt', use_unique_id=False)}

    def run(self):
        import pandas as pd
        self.dump(pd.DataFrame({'x': [1]}), 'a')
        self.dump('b', 'b')


class Given(luigi.ExternalTask, gokart.TaskOnKart):
    def output(self):
        return self.make_target('given.txt', use_unique_id=False)


class Held(gokart.TaskOnKart):
    two = gokart.TaskInstanceParameter()
    several = gokart.ListTaskInstanceParameter()


class Root(gokart.TaskOnKart):
    def requires(self):
        yield Held(two=Two(), several=[Source(n=3), Source(n=2)])
        yield Source(n=4)
        yield Given()
        yield Two()
"""
SHOW = """
def show(text):
    sys.stdout.write(text + '\\n==\\n')

for task in (Root(), Two(), Source(n=9)):
    for details in (False, True):
        for abbr in (True, False):
            for ignored in (None, ['Two'], ['Source', 'Given']):
                show(gokart.make_tree_info(task, details=details, abbr=abbr, ignore_task_names=ignored))
                if details:
                    show(gokart.make_task_info_as_tree_str(task, details, abbr, ignored))
    for ignored in (None, ['Two']):
        show(make_task_info_as_table(task, ignored).to_csv())
        show(repr(make_task_info_as_table(task, ignored).dtypes.to_dict()))
for mode in (TaskDumpMode.TREE, TaskDumpMode.TABLE):
    for output in (TaskDumpOutputType.PRINT, TaskDumpOutputType.DUMP):
        gokart.build(Two(), log_level=logging.INFO, task_dump_config=TaskDumpConfig(mode, output))
where = sys.argv[2]
dump_task_info_table(Root(), f'{where}/table.csv')
dump_task_info_table(Root(), f'{where}/table.pkl')
dump_task_info_tree(Root(), f'{where}/tree.pkl')
dump_task_info_tree(Root(), f'{where}/plain.pkl', use_unique_id=False)
"""
READ = """
def tasks(info):
    return [info] + [task for child in info.children_task_infos for task in tasks(child)]

def shown(value):
    return value.to_csv() if hasattr(value, 'to_csv') else '\\n'.join(repr(
        {name: part for name, part in vars(info).items() if name != 'children_task_infos'}
    ) for info in tasks(value))

tree = make_target('by_gokart/plain.pkl').load()
assert type(tree).__module__.split('.')[0] == sys.argv[1]
for file in sys.argv[2:]:
    sys.stdout.write(f'{shown(make_target(file).load())}\\n==\\n')
"""
LIBRARIES = ('gokart', 'kartnb')


def _python(code: str, *args: str) -> tuple[str, list[str]]:
    """What a script writes to standard output, and the lines of trees and tables on standard error."""
    done = subprocess.run([sys.executable, '-c', TASKS + code, *args], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if '--' in line or '─-' in line or '\t' in line]


def test_trees_tables_and_dumps_are_equal_and_each_reads_the_others() -> None:
    for library in LIBRARIES:
        _python(f'gokart.build({"Two()" if library == "gokart" else "Source(n=4)"})', library)
    logs = Path('resources/log/task_info')
    shown, files, texts = {}, {}, {}
    for library in LIBRARIES:
        out, lines = _python(SHOW, library, f'by_{library}')
        shown[library] = [*out.split('\n==\n'), *lines]
        place = Path(f'by_{library}')
        logs.rename(place / 'log')
        files[library] = sorted(str(file.relative_to(place)) for file in place.rglob('*.*'))
        texts[library] = [(place / name).read_text() for name in files[library] if not name.endswith('.pkl')]
    assert shown['kartnb'] == shown['gokart']
    assert len(files['gokart']) == 6
    assert (files['kartnb'], texts['kartnb']) == (files['gokart'], texts['gokart'])
    pickles = [f'by_{library}/{name}' for library in LIBRARIES for name in files['gokart'] if name.endswith('.pkl')]
    read = [_python(READ, library, *pickles)[0] for library in LIBRARIES]
    assert read[0] == read[1]
    values = read[0].split('\n==\n')
    assert values[:4] == values[4:8]
    assert "RequiredTask(name='Two'" in values[2]
