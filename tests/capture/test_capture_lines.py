"""From printed text to lines: what is written over, escapes, floods; and the file that keeps them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from kartnb.capture import lines as kept_lines
from kartnb.capture.lines import LONGEST_LINE, KeptLines, PrintedLines, progress_of, visible
from kartnb.capture.task_log import REPORTED_IN_FULL, TaskLog
from kartnb.model import LogLine, TaskOutput, TaskProgress
from kartnb.storage.places import CapturedLine, read_captured_lines, write_captured_lines


def _lines(*texts: str) -> list[str]:
    printed = PrintedLines()
    return [line for text in texts for line in printed.feed(text)] + printed.end()


class _Screen(io.StringIO):
    """A stream that puts what it is given into lines."""

    def __init__(self) -> None:
        super().__init__()
        self.printed = PrintedLines()
        self.lines: list[str] = []
        self.seen: list[str] = []

    def write(self, text: str) -> int:
        self.lines += self.printed.feed(text)
        self.seen.append(self.printed.rewritten)
        return len(text)


@pytest.mark.parametrize(
    'texts, lines',
    [
        (['a\nb\n'], ['a', 'b']),
        (['a', 'b\nc'], ['ab', 'c']),
        (['\n\na\n'], ['', '', 'a']),
        (['one\r\ntwo\r', '\nthree'], ['one', 'two', 'three']),
        (['10%\r20%\r30%\n'], ['30%']),
        (['10 %', '\r100 %', '\nafter\n'], ['100 %', 'after']),
        (['\x1b[31mred\x1b[0m \x1b', '[1mbold\n'], ['red bold']),
        (['\x1b]0;title\x07text\n'], ['text']),
        (['a\x07\x00\x85b\u2028c\ud800\n'], ['a\\x07\\x00\\x85b\\u2028c\\ud800']),
        (['|\b/\b-\bdone\n'], ['done']),
        (['x' * (LONGEST_LINE + 3)], ['x' * LONGEST_LINE, 'xxx']),
        (['日本\tempty'], ['日本\tempty']),
    ],
)
def test_lines(texts: list[str], lines: list[str]) -> None:
    assert _lines(*texts) == lines


def test_a_bar_is_one_line_in_its_last_state() -> None:
    screen = _Screen()
    for _ in tqdm(range(50), file=screen, mininterval=0, desc='bar'):
        pass
    print('after', file=screen)
    first, last = screen.lines
    assert first.startswith('bar: 100%|')
    assert last == 'after'
    assert len({progress_of(line) for line in screen.seen if line}) > 20


def test_nested_bars_are_one_line_and_the_outer_one_is_the_progress() -> None:
    screen = _Screen()
    for _ in tqdm(range(10), file=screen, mininterval=0, desc='outer'):
        for _ in tqdm(range(10), file=screen, mininterval=0, desc='inner', leave=False):
            pass
    (line,) = screen.lines + screen.printed.end()
    assert line.startswith('outer: 100%|')
    unfinished = [line for line in screen.seen if line and '100%' not in line]
    assert unfinished
    assert all(line.startswith('outer') for line in unfinished)


def test_what_tqdm_writes_beside_a_bar_is_kept() -> None:
    screen = _Screen()
    for i in tqdm(range(3), file=screen, mininterval=0):
        tqdm.write(f'note {i}', file=screen)
    lines = screen.lines + screen.printed.end()
    assert lines[:3] == ['note 0', 'note 1', 'note 2']
    assert len(lines) == 4


@pytest.mark.parametrize(
    'line, progress',
    [
        ('train:  45%|####5     | 45/100 [00:04<00:05, 10.0it/s]', (45, 'train: 45/100 [00:04<00:05, 10.0it/s]')),
        ('45it [00:04, 10.0it/s]', (None, '45it [00:04, 10.0it/s]')),
        ('epoch 3: 12.5 % done', (12.5, 'epoch 3: 12.5 % done')),
        ('1234% of nonsense', (None, '1234% of nonsense')),
    ],
)
def test_progress(line: str, progress: tuple[float | None, str]) -> None:
    assert progress_of(line) == progress


@given(st.lists(st.text(alphabet=st.characters(codec=None), max_size=30), max_size=8))
def test_any_text_in_any_pieces_gives_visible_lines(texts: list[str]) -> None:
    for line in _lines(*texts):
        assert '\n' not in line
        assert visible(line) == line
        line.encode('utf-8')


@given(st.text(alphabet='ab\n\r\x1b[AKm1\b', max_size=60), st.integers(0, 60))
def test_where_a_text_is_cut_does_not_matter_to_plain_lines(text: str, cut: int) -> None:
    plain = text.replace('\r', '').replace('\x1b', '').replace('\b', '')
    assert _lines(plain[:cut], plain[cut:]) == _lines(plain)
    _lines(text[:cut], text[cut:])


def test_of_too_many_lines_the_first_and_the_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_lines, 'KEPT_FIRST', 1_000)
    monkeypatch.setattr(kept_lines, 'KEPT_LAST', 1_000)
    kept = KeptLines()
    numbers = [f'{number:06}' for number in range(1_000)]
    for start in range(0, 1_000, 7):
        kept.add(1.0, 'stdout', numbers[start : start + 7])
    lines = kept.lines()
    middle = next(i for i, line in enumerate(lines) if line.source == 'left out')
    first, last = lines[:middle], lines[middle + 1 :]
    assert [line.text for line in first] == numbers[: len(first)]
    assert [line.text for line in last] == numbers[-len(last) :]
    assert len(first) == len(last) == 1_000 // 46
    left_out = 1_000 - len(first) - len(last)
    assert lines[middle].text == f'{left_out} lines with {left_out * 6:,} characters are left out here'


def test_listeners_get_lines_in_order_and_of_a_flood_the_newest() -> None:
    heard: list[Any] = []
    log = TaskLog('build', 'key', heard.append)
    log.print('stdout', 'first\nsec')
    log.print('stdout', 'ond\n')
    log.log(LogLine('build', 'key', 20, 'logger', 'logged'))
    log.print('stderr', '\r 10%|#  | 1/10 [00:01<00:09]')
    log.settle()
    texts = [event.text for event in heard if isinstance(event, TaskOutput | LogLine)]
    assert texts == ['first', 'second', 'logged', ' 10%|#  | 1/10 [00:01<00:09]']
    assert next(event for event in heard if isinstance(event, TaskProgress)).percentage == 10
    heard.clear()
    for number in range(100_000):
        log.print('stdout', f'{number:099}\n')
    log.settle()
    reported = [event.text for event in heard]
    assert REPORTED_IN_FULL * 0.8 < sum(map(len, reported)) < REPORTED_IN_FULL * 1.5
    assert reported[-1].endswith(f'{99_999:099}')


def test_a_bar_that_is_done_comes_before_what_is_printed_and_logged_later() -> None:
    log = TaskLog('build', 'key', lambda event: None)
    for number in range(2):
        log.print('stderr', f'\rbar {number}: 50%|# |')
        log.print('stderr', f'\rbar {number}: 100%|##|')
        log.print('stderr', '\n')
        log.print('stdout', f'printed {number}\n')
    log.print('stderr', '\rbar 2: 0%|  |\n')
    log.log(LogLine('build', 'key', 20, 'logger', 'logged'))
    assert [line.text for line in log.lines] == [
        'bar 0: 100%|##|',
        'printed 0',
        'bar 1: 100%|##|',
        'printed 1',
        'bar 2: 0%|  |',
        'logged',
    ]


def test_one_thread_notifies_while_another_prints() -> None:
    """A listener that waits for the printing thread does not stop it."""
    import threading

    waits, goes_on = threading.Event(), threading.Event()

    def hear(event: Any) -> None:
        waits.set()
        assert goes_on.wait(10)

    log = TaskLog('build', 'key', hear)
    log.put('stdout', 'first\n')
    notifier = threading.Thread(target=log.advance)
    notifier.start()
    assert waits.wait(10)
    log.put('stdout', 'second\n')
    log.advance()
    goes_on.set()
    notifier.join()
    log.settle()


_TEXT = st.text(alphabet=st.characters(exclude_categories=['Cs', 'Cc']), max_size=40)


@given(
    st.lists(
        st.builds(
            CapturedLine, time=st.just(1.5e9), source=st.sampled_from(['stdout', 'stderr', 'left out']), text=_TEXT
        )
        | st.builds(
            CapturedLine,
            time=st.just(1.6e9),
            source=st.just('log'),
            text=st.lists(_TEXT, min_size=1, max_size=4).map('\n'.join),
            level=st.sampled_from([10, 20, 25, 30, 40, 50]),
            logger=_TEXT,
        ),
        max_size=20,
    )
)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, lines: list[CapturedLine]) -> None:
    path = str(tmp_path_factory.mktemp('log') / 'A_0.log')
    write_captured_lines(path, lines, 'build')
    assert read_captured_lines(path) == lines


def test_a_damaged_file_gives_what_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / 'A_0.log'
    assert read_captured_lines(str(path)) == []
    write_captured_lines(str(path), [CapturedLine(1.5e9, 'stdout', 'kept')], 'build')
    path.write_bytes(path.read_bytes() + b'\xff\xfe\tno\ttime\n\tand no start\nnothing\n2020-01-01\tODD level\tx\n')
    assert [line.text for line in read_captured_lines(str(path))] == ['kept']


def test_a_logger_cannot_break_the_file(tmp_path: Path) -> None:
    path = str(tmp_path / 'A_0.log')
    write_captured_lines(path, [CapturedLine(1.5e9, 'log', 'a\nb', 20, 'evil\n\tname')], 'build')
    assert read_captured_lines(path) == [CapturedLine(1.5e9, 'log', 'a\nb', 20, 'evil name')]
