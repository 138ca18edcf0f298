"""Count what a pipeline on S3 asks the server, under kartnb and under gokart: `python -m benchmarks.stores`.

Moto's server answers on this computer, each request after a pause, as a store in another place does. Each library runs
in a process of its own on a bucket of its own.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import luigi

COUNT = '/benchmark-count'


@contextmanager
def counting_server(latency: float) -> Iterator[str]:
    """An S3 server that says at `COUNT` how many requests it has had; each takes at least `latency` seconds."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger('werkzeug').setLevel(logging.ERROR)
    application = DomainDispatcherApplication(create_backend_app)
    asked: list[str] = []

    def counting(environ: dict[str, Any], start: Any) -> Any:
        if environ['PATH_INFO'] == COUNT:
            start('200 OK', [('Content-Type', 'text/plain')])
            return [str(len(asked)).encode()]
        asked.append(environ['PATH_INFO'])
        time.sleep(latency)
        return application(environ, start)

    server = make_server('127.0.0.1', 0, counting, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f'http://127.0.0.1:{server.server_port}'
    finally:
        server.shutdown()
        thread.join()


def steps(library: str, place: str, levels: int) -> dict[str, Callable[[], object]]:
    """What is measured, in this order: a tree of tasks, each of which needs two."""
    import kartnb

    if library == 'gokart':
        import gokart as module
    else:
        module = kartnb

    class Node(module.TaskOnKart):
        level = luigi.IntParameter()
        number = luigi.IntParameter()

        def requires(self) -> Any:
            below = [(self.level - 1, 2 * self.number + i) for i in (0, 1)] if self.level else []
            return [Node(level=level, number=number, workspace_directory=place) for level, number in below]

        def run(self) -> None:
            self.dump(sum(self.load()) if self.level else self.number)

    def root() -> Any:
        return Node(level=levels, number=0, workspace_directory=place)

    def build() -> object:
        return module.build(root(), reset_register=False, log_level=logging.ERROR)

    found: dict[str, Callable[[], object]] = {'first build': build, 'the same again': build}
    if library == 'gokart':
        return {**found, 'plan': lambda: module.make_tree_info(root())}
    return {
        **found,
        'plan': lambda: repr(kartnb.plan(root())),
        'history': lambda: len(kartnb.Workspace(place).runs()),
        'clean': lambda: repr(kartnb.clean(root())),
        'everything again': lambda: kartnb.build(root(), rerun='Node'),
    }


def run(library: str, levels: int) -> None:
    """Run in this process, and print each step with its requests and seconds."""
    import boto3

    boto3.client('s3').create_bucket(Bucket=library)
    for name, act in steps(library, f's3://{library}/results', levels).items():
        before, begin = count(), time.perf_counter()
        act()
        print(json.dumps([name, count() - before, time.perf_counter() - begin]), flush=True)


def count() -> int:
    with urllib.request.urlopen(os.environ['AWS_ENDPOINT_URL'] + COUNT) as answer:
        return int(answer.read())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='three tasks without a pause')
    parser.add_argument('--levels', type=int, default=4, help='levels of the tree below its root: 4 are 31 tasks')
    parser.add_argument('--latency', type=float, default=20, help='milliseconds of each request')
    parser.add_argument('--place', help='not used: nothing is written on a disk')
    parser.add_argument('--run', choices=['kartnb', 'gokart'], help=argparse.SUPPRESS)
    options = parser.parse_args()
    levels, latency = (1, 0) if options.quick else (options.levels, options.latency)
    if options.run:
        run(options.run, levels)
        return
    tasks = 2 ** (levels + 1) - 1
    print(
        f'| {tasks} tasks, {latency:g} ms a request | library | requests | a task | seconds |\n|---|---|---:|---:|---:|'
    )
    for library in ('kartnb', 'gokart'):
        with counting_server(latency / 1000) as url:
            keys = dict.fromkeys(('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'), 'any')
            environment = {**os.environ, **keys, 'AWS_DEFAULT_REGION': 'us-east-1', 'AWS_ENDPOINT_URL': url}
            command = [sys.executable, '-W', 'ignore', '-m', 'benchmarks.stores', '--run', library]
            command += ['--quick'] if options.quick else ['--levels', str(levels)]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        for line in done.stdout.splitlines():
            name, requests, seconds = json.loads(line)
            print(f'| {name} | {library} | {requests} | {requests / tasks:.3g} | {seconds:.2f} |')


if __name__ == '__main__':
    main()
