"""gokart's tutorial in a notebook, word for word but for the import."""

from __future__ import annotations

from pathlib import Path

from tests.notebook.kernel import Kernel

EXAMPLE = '8441c59b5ce0113396d53509f19371fb'
KINDS = {
    'module_versions': 'txt',
    'processing_time': 'pkl',
    'random_seed': 'pkl',
    'task_log': 'pkl',
    'task_params': 'pkl',
}


def test_the_first_page(kernel: Kernel, tmp_path: Path) -> None:
    kernel.ok('%unload_ext kartnb')
    kernel.ok(
        'import kartnb as gokart\n\n'
        'class Example(gokart.TaskOnKart):\n    def run(self):\n'
        "        self.dump('Hello, world!')\n\n"
        'task = Example()\noutput = gokart.build(task)\nprint(output)'
    )
    made = {str(file.relative_to(tmp_path)) for file in (tmp_path / 'resources').rglob('*') if file.is_file()}
    assert {file for file in made if not file.startswith('resources/log/run_record/')} == {
        f'resources/__main__/Example_{EXAMPLE}.pkl',
        *(f'resources/log/{kind}/Example_{EXAMPLE}.{ending}' for kind, ending in KINDS.items()),
    }
    kernel.ok('import pickle')
    path = f'./resources/__main__/Example_{EXAMPLE}.pkl'
    assert kernel.ok(f"with open('{path}', 'rb') as f:\n    print(pickle.load(f))").stdout == 'Hello, world!\n'


def test_tasks_with_parameters(kernel: Kernel, tmp_path: Path) -> None:
    kernel.ok(
        'import logging\nimport luigi\nimport kartnb as gokart\n\n'
        'class SampleTask(gokart.TaskOnKart):\n    param = luigi.Parameter()\n\n'
        '    def run(self):\n        self.dump(self.param)\n'
    )
    build = "gokart.build(SampleTask(param='{}'), return_value=False, log_level=logging.DEBUG)"
    first = kernel.ok(build.format('hello'))
    assert 'SampleTask' in first.stderr
    assert first.value is None
    (hello,) = (tmp_path / 'resources/__main__').iterdir()
    before = hello.stat().st_mtime_ns
    kernel.ok(build.format('goodbye'))
    assert len(list((tmp_path / 'resources/__main__').iterdir())) == 2
    assert hello.stat().st_mtime_ns == before
    assert kernel.ok("gokart.build(SampleTask(param='hello'))").value == "'hello'"


def test_the_command_line_within_a_cell(kernel: Kernel, tmp_path: Path) -> None:
    kernel.ok(
        'import luigi\nimport kartnb as gokart\n\n'
        'class SampleTask(gokart.TaskOnKart):\n    param = luigi.Parameter()\n\n'
        '    def run(self):\n        self.dump(self.param)\n'
    )
    cell = kernel.ok("gokart.run(['SampleTask', '--local-scheduler', '--param=hello'])")
    assert 'Build of SampleTask' in cell.stderr
    assert list((tmp_path / 'resources/__main__').glob('SampleTask_*.pkl'))
    wrong = kernel.run("gokart.run(['SampleTask', '--local-scheduler'])")
    assert wrong.error is not None
    assert wrong.error['ename'] == 'SystemExit'
    assert "SampleTask needs a value for 'param'" in wrong.stderr
