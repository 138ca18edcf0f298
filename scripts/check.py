"""Check lint, format, types, and the direction of imports: ``python scripts/check.py``.

All checks run, and the exit code is 1 if one of them fails. The programs come from the environment of this Python.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHECKS = (('ruff', 'check', '.'), ('ruff', 'format', '--check', '.'), ('mypy',), ('lint-imports',))


def main() -> int:
    """Run the checks, and return the exit code."""
    failed = False
    for program, *arguments in CHECKS:
        command = ' '.join([program, *arguments])
        began = time.monotonic()
        done = subprocess.run(
            [Path(sys.executable).with_name(program), *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            failed = True
            print(done.stdout)
        print(f'{"failed" if done.returncode else "ok":<7} {time.monotonic() - began:5.1f} s  {command}', flush=True)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
