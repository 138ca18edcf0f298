"""Count the source files that each action of a user passes through: ``python -m benchmarks.paths [--names]``.

Each action is done in a real kernel, once to warm up and then once more under a profiler that is on in all threads.
A file of kartnb counts if one of its functions runs; code that runs while a module is imported does not count.
``PYTHONPATH`` selects the version of kartnb.
"""

from __future__ import annotations

import argparse
import ast
import os
import tempfile
from pathlib import Path

from tests.notebook.kernel import ROOT, Kernel, running_kernel

# the profiler comes before the extension, so that every thread of kartnb has it
SETUP = """
import os
import sys
import threading
import time

passed = set()
is_counting = False

def profile(frame, event, argument):
    if is_counting and event == 'call' and frame.f_code.co_name != '<module>':
        passed.add(frame.f_code.co_filename)

threading.setprofile(profile)
sys.setprofile(profile)

def files():
    import kartnb
    root = os.path.dirname(kartnb.__file__) + os.sep
    return sorted(name.removeprefix(root) for name in passed if name.startswith(root))
"""

TASKS = """
%%kart
class Load(TaskOnKart):
    name = luigi.Parameter()

    def run(self):
        print('loading')
        self.dump([1, 2, 3])

class Train(TaskOnKart):
    name = luigi.Parameter()
    depth = luigi.IntParameter(default=0)

    def requires(self):
        return Load(name=self.name)

    def run(self):
        self.dump(f'value {self.depth} {sum(self.load())}')
"""

# the effect of dragging the handle: the slider's value changes, and the page shows another result
SLIDER = """
import ipywidgets
from ipywidgets.widgets.widget import _instances

def move(depth):
    slider = next(widget for widget in list(_instances.values()) if isinstance(widget, ipywidgets.IntSlider))
    slider.value = depth
    end = time.monotonic() + 30
    while not any(
        f'value {depth} 6' in widget.value
        for widget in list(_instances.values())
        if isinstance(widget, ipywidgets.HTML)
    ):
        if time.monotonic() > end:
            raise RuntimeError('the slider shows no result')
        time.sleep(0.02)
    time.sleep(0.5)
"""

#: By the name of each way: the code before it, and the way itself. NAME is replaced by another word each time.
WAYS = {
    '%kart_build, text': ('%config KartMagics.live_graph = False', "%kart_build Train(name='NAME')"),
    '%kart_build, live graph': ('%config KartMagics.live_graph = True', "%kart_build Train(name='NAME')"),
    'kartnb.build': ('', "kartnb.build(Train(name='NAME'))"),
    'plan': ('', "plan = kartnb.plan(Train(name='NAME'))"),
    'plan to SVG': ("plan = kartnb.plan(Train(name='NAME'))", "kartnb.graph(plan).save('graph.svg')"),
    'dump and load': ("task = Load(name='NAME')", 'task.dump([1]); task.output().load()'),
    'slider to cached result': ('', 'move(NUMBER)'),
    'why': ("task = Train(name='NAME')", 'repr(kartnb.why(task))'),
}


# the threads of a live graph still send updates for a moment when the cell is done
COUNTED = """
is_counting = True
{way}
time.sleep(0.5)
is_counting = False
'\\n'.join(files())
"""


def files_of(kernel: Kernel, way: str) -> list[str]:
    """Go one way twice, and return the files that it passes the second time."""
    for number in (1, 2):
        before, code = (part.replace('NAME', f'{way} {number}').replace('NUMBER', str(number)) for part in WAYS[way])
        kernel.ok(before)
        kernel.ok('passed.clear()')
        value = kernel.ok(COUNTED.format(way=code)).value
    return [] if value is None else str(ast.literal_eval(value)).splitlines()


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--names', action='store_true', help='name the files too')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        work = Path(place, 'work')
        work.mkdir()
        with running_kernel(Path(place), work, PYTHONPATH=os.environ.get('PYTHONPATH', str(ROOT))) as kernel:
            for cell in (SETUP, '%load_ext kartnb\nimport kartnb', TASKS.lstrip(), SLIDER):
                kernel.ok(cell)
            kernel.ok("for depth in range(3): kartnb.build(Train(name='slider', depth=depth))")
            kernel.ok("%kart_interact Train(name='slider') depth=0:9")
            for way in WAYS:
                found = files_of(kernel, way)
                print(f'{way:<24} {len(found):>4} files')
                if options.names:
                    print(*(f'    {name}' for name in found), sep='\n')


if __name__ == '__main__':
    main()
