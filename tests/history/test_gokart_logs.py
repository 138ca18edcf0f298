"""What a task notes in its log."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path

import pytest

import kartnb


@pytest.mark.parametrize('workers', [1, 2])
def test_an_odd_entry_of_the_task_log_is_named_and_fails_nothing(
    workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    class Noting(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            self.task_log['rows'] = 3
            self.task_log['鍵'] = threading.Lock()
            self.dump(1)

    assert kartnb.build(Noting(), workers=workers) == 1
    (path,) = Path('resources/log/task_log').iterdir()
    kept = pickle.loads(path.read_bytes())
    assert kept['rows'] == 3
    assert 'lock' in kept['鍵']
    if workers == 1:
        assert "Noting.task_log has entries that cannot be pickled, which are kept as text: '鍵'" in caplog.text


def test_it_names_every_output_written_or_not_as_in_gokart() -> None:
    class OneOfTwo(kartnb.TaskOnKart[int]):
        def output(self) -> object:
            return {'a': self.make_target('a.pkl'), 'b': self.make_target('b.pkl')}

        def run(self) -> None:
            self.dump(1, 'a')

    kartnb.build(OneOfTwo(), return_value=False)
    unique_id = OneOfTwo().make_unique_id()
    assert OneOfTwo().get_task_log()['file_path'] == [f'./resources/{name}_{unique_id}.pkl' for name in 'ab']
