"""Make every file operation a fault, for each scenario and format, and print how many points were tried and wrong.

``python scripts/fault_table.py`` tries them all, which takes hours; options choose among them. For each scenario,
format, size and kind of fault it prints the points that were tried and those after which something was wrong, with
what. Needs Linux and a C compiler. It ends with 1 when something was wrong.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))


def main() -> int:
    """Run the driver, and print its rows as they come."""
    from tests.faults.interception import environment

    parser = argparse.ArgumentParser(description=__doc__, epilog='Other options are those of tests.faults.points.')
    parser.add_argument('--place', default=None, help='where the workspaces are; a directory in memory is fastest')
    options, more = parser.parse_known_args()
    points = wrong = 0
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        command = [sys.executable, '-m', 'tests.faults.points', '--place', place, *more]
        variables = environment(Path(place)) | {'PYTHONPATH': str(ROOT)}
        with subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True) as driver:
            print(f'{"scenario":24} {"format":10} {"size":6} {"fault":10} {"points":>6} {"wrong":>6} {"seconds":>8}')
            for line in driver.stdout or ():
                row = json.loads(line)
                points, wrong = points + row['points'], wrong + len(row['wrong'])
                head = f'{row["scenario"]:24} {row["format"]:10} {row["size"]:6} {row["fault"]:10}'
                print(f'{head} {row["points"]:6} {len(row["wrong"]):6} {row["seconds"]:8}', flush=True)
                for found in row['wrong']:
                    print(f'    {found["at"]} {found["operation"]}')
                    print(*(f'        {problem}' for problem in found['problems']), sep='\n', flush=True)
    print(f'{points} points, {wrong} wrong')
    return 1 if wrong or driver.returncode else 0


if __name__ == '__main__':
    sys.exit(main())
