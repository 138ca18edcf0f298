"""Measure how long it takes to list a workspace: `python -m benchmarks.history [RESULTS]`.

Two workspaces with this number of results are created, one with kartnb's records and one with only gokart's logs, and
listed as a DataFrame.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
import tempfile
import time
from pathlib import Path

from kartnb.history.run_record import OutputFile, RunRecord, utc_text
from kartnb.history.workspace import Workspace


def main(count: int = 50_000) -> None:
    for name, write in (('kartnb', _kartnb), ('gokart', _gokart)):
        with tempfile.TemporaryDirectory() as place:
            write(Path(place), count)
            begin, cpu = time.perf_counter(), time.process_time()
            runs = Workspace(place).runs()
            listed = time.perf_counter() - begin
            table = runs.to_dataframe()
            seconds, used = time.perf_counter() - begin, time.process_time() - cpu
            assert len(table) == count
            print(
                f'{name}: {count:,} results listed in {listed:.1f} s, as a frame in {seconds:.1f} s, CPU {used:.1f} s'
            )


def _kartnb(place: Path, count: int) -> None:
    records = place / 'log/run_record/pipeline'
    records.mkdir(parents=True)
    (place / 'pipeline').mkdir()
    for i in range(count):
        uid = _uid(i)
        (place / f'pipeline/Train_{uid}.pkl').write_bytes(b'x')
        outputs = (OutputFile(f'./resources/pipeline/Train_{uid}.pkl', 1, 1.0),)
        parameters = {'depth': str(i % 50), 'seed': str(i), 'rate': '0.1'}
        times = (utc_text(1.7e9 + i), utc_text(1.7e9 + i + 1), 1.0)
        record = RunRecord(
            'Train', 'pipeline', uid, parameters, 'done', uid[:12], (), outputs, *times, '', 'b', 'h', 1, ''
        )
        (records / f'Train_{uid}~r{uid[:12]}.json').write_text(record.to_json())


def _gokart(place: Path, count: int) -> None:
    kinds = ('task_params', 'task_log', 'processing_time', 'random_seed')
    for kind in kinds:
        (place / 'log' / kind).mkdir(parents=True)
    (place / 'pipeline').mkdir()
    for i in range(count):
        uid = _uid(i)
        path = f'./resources/pipeline/Train_{uid}.pkl'
        (place / f'pipeline/Train_{uid}.pkl').write_bytes(b'x')
        values = ({'depth': str(i % 50), 'seed': str(i)}, {'file_path': [path]}, 0.5, {'seed': i, 'seed_methods': []})
        for kind, value in zip(kinds, values, strict=True):
            (place / f'log/{kind}/Train_{uid}.pkl').write_bytes(pickle.dumps(value, 4))


def _uid(i: int) -> str:
    return hashlib.md5(str(i).encode()).hexdigest()


if __name__ == '__main__':
    main(*(int(argument) for argument in sys.argv[1:]))
