"""In a kernel, what workers come from is there before the first build needs it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.notebook.kernel import running_kernel

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='workers are forked on Linux only')

LIBRARY = 'import os\nPID = os.getpid()\n'
SETUP = """
%load_ext kartnb
import os, sys, time
import kartnb, luigi
import kartnb_test_library
from kartnb.execution.workers import process_pool, nursery
process_pool._free = lambda: 1 << 40
"""
CLASS = """
class Telling(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=0)

    def run(self):
        self.dump((getattr(sys.modules.get('kartnb_test_library'), 'PID', None), os.getppid()))
"""
UNTIL_READY = """
deadline = time.monotonic() + 60
while not [x for x in nursery._nurseries if x.status.state == 'ready'] and time.monotonic() < deadline:
    time.sleep(0.05)
ready = [x._process.pid for x in nursery._nurseries if x.status.state == 'ready']
"""


def _place(tmp_path: Path) -> Path:
    libraries = tmp_path / 'site-packages'
    libraries.mkdir()
    (libraries / 'kartnb_test_library.py').write_text(LIBRARY)
    work = tmp_path / 'work'
    work.mkdir()
    return work


def test_the_first_build_finds_the_libraries_of_earlier_cells_imported(tmp_path: Path) -> None:
    work = _place(tmp_path)
    with running_kernel(tmp_path, work, KARTNB_WARM_WORKERS='true') as kernel:
        kernel.ok(f'import sys; sys.path.insert(0, {str(tmp_path / "site-packages")!r})')
        kernel.ok(SETUP)
        assert kernel.ok('len(nursery._nurseries)').value == '0', 'without a task, nobody will build'
        kernel.ok(CLASS)
        kernel.ok(UNTIL_READY)
        assert kernel.ok('kartnb.build(Telling(), workers=2) == (ready[0], ready[0])').value == 'True'
        kernel.ok('%unload_ext kartnb\nended = nursery._nurseries[0]._process.wait(30)')


def test_controls_keep_what_workers_come_from(tmp_path: Path) -> None:
    work = _place(tmp_path)
    with running_kernel(tmp_path, work) as kernel:
        kernel.ok(f'import sys; sys.path.insert(0, {str(tmp_path / "site-packages")!r})')
        kernel.ok(SETUP + 'nursery.IDLE = 0.2')
        kernel.ok(CLASS)
        assert kernel.ok('len(nursery._nurseries)').value == '0', 'the configuration says no'
        kernel.ok('shown = kartnb.interact(Telling, n=(0, 10))')
        kernel.ok(UNTIL_READY + 'time.sleep(1)')
        assert kernel.ok('nursery._nurseries[0].has_ended()').value == 'False'
