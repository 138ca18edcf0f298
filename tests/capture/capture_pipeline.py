"""A pipeline whose tasks print in every way, as a script: ``python capture_pipeline.py OPTIONS`` builds and tells."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from typing import Any

import luigi

import kartnb
from kartnb.model import LogLine, TaskOutput

TEXTS = [
    'printed',
    'error stream',
    'warned',
    'logged',
    'descriptor',
    'from C',
    'from a child',
    'error of a child',
    'in a thread',
    'no newline',
]


class Loud(kartnb.TaskOnKart[int]):
    """Prints in every way, in a known order."""

    n = luigi.IntParameter(0)

    def run(self) -> None:
        n = self.n
        print(f'printed {n}')
        sys.stderr.write(f'error stream {n}\n')
        warnings.warn_explicit(f'warned {n}', UserWarning, f'file {n}.py', 1)
        logging.getLogger('users').info('logged %s', n)
        os.write(1, f'descriptor {n}\n'.encode())
        ctypes.CDLL(None).puts(f'from C {n}'.encode())
        subprocess.run(['/bin/sh', '-c', f'echo from a child {n}; echo error of a child {n} >&2'], check=True)
        thread = threading.Thread(target=lambda: print(f'in a thread {n}'))
        thread.start()
        thread.join()
        print(f'no newline {n}', end='')
        self.dump(n)


class All(kartnb.TaskOnKart[int]):
    def requires(self) -> Any:
        return [Loud(n=n) for n in range(3)]

    def run(self) -> None:
        os.write(2, b'last words\n')
        self.dump(sum(self.load()))


class Quiet(kartnb.TaskOnKart[int]):
    def run(self) -> None:
        self.dump(1)


def expected(n: int) -> list[str]:
    return [f'file {n}.py:1: UserWarning: warned {n}' if text == 'warned' else f'{text} {n}' for text in TEXTS]


def process_state() -> list[Any]:
    """What a build must leave as it found it."""
    streams = [(id(stream), sorted(vars(stream))) for stream in (sys.stdout, sys.stderr)]
    descriptors = [(number, os.fstat(number).st_ino) for number in (1, 2)]
    # what waits for the nursery stays as long as that does
    threads = sum(thread.name != 'kartnb nursery' for thread in threading.enumerate())
    return [streams, descriptors, sum(map(_stays, os.listdir('/proc/self/fd'))), threads]


def _stays(number: str) -> bool:
    """Whether a descriptor is of a kind that capture opens; a kernel opens others now and then."""
    try:
        found = os.readlink(f'/proc/self/fd/{number}').replace('kartnb-nursery', '')  # which stays, as its thread does
        return any(kind in found for kind in ('pipe:', 'kartnb', '/dev/pt', 'null'))
    except FileNotFoundError:
        return False


def _becomes(before: list[Any]) -> bool:
    """Whether the state is as before, as soon as the workers have ended: a build does not wait for them."""
    deadline = time.monotonic() + 20
    while process_state() != before and time.monotonic() < deadline:
        time.sleep(0.05)
    return process_state() == before


def main(options: dict[str, Any]) -> None:
    before = process_state()
    heard: list[tuple[float, str, str]] = []

    def hear(event: Any) -> None:
        if isinstance(event, TaskOutput | LogLine):
            heard.extend((time.time(), event.key, line) for line in event.text.split('\n'))

    print('before')
    kartnb.build(All(), listeners=[hear], **options)
    print('after')
    report = {
        'unchanged': _becomes(before),
        'kept': {str(n): [(line.source, line.text) for line in kartnb.logs(Loud(n=n))] for n in range(3)},
        'all': [line.text for line in kartnb.logs(All())],
        'quiet': len(kartnb.logs(Quiet())),
        'heard': [(key.partition('_')[0], text) for _, key, text in heard],
        'of': {str(n): [text for _, key, text in heard if Loud(n=n).make_unique_id() in key] for n in range(3)},
    }
    with open('report.json', 'w') as file:
        json.dump(report, file)


if __name__ == '__main__':
    main(json.loads(sys.argv[1]))
