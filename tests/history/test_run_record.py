"""The run record tells what made a result, and nothing secret."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import luigi
import pytest
from luigi.parameter import ParameterVisibility

import kartnb
from kartnb.history.run_record import FORMAT_VERSION, InputResult, OutputFile, RunRecord
from kartnb.storage.run_records import RecordDirectory


class Upstream(kartnb.TaskOnKart):
    def run(self) -> None:
        self.dump(1)


class Downstream(kartnb.TaskOnKart):
    depth = luigi.IntParameter(2)
    token = luigi.Parameter('private-s3cret', visibility=ParameterVisibility.PRIVATE)
    key = luigi.Parameter('hidden-s3cret', visibility=ParameterVisibility.HIDDEN)
    fail = luigi.BoolParameter(default=False, significant=False)

    def requires(self) -> Any:
        return Upstream()

    def run(self) -> None:
        if self.fail:
            raise ValueError('asked to')
        self.dump(self.load() + self.depth)


def _record(task: Any) -> RunRecord:
    record = kartnb.Workspace().run(task).record
    assert record is not None
    return record


_HOSTILE = 'q"\\</script>\n\x00\u2028データ'


@pytest.mark.parametrize('text', ['', 'plain', _HOSTILE])
def test_a_record_is_read_as_it_was_written(text: str) -> None:
    record = RunRecord(
        task=text,
        module=text,
        unique_id=text,
        parameters={text: text, 'n': '1'} if text else {},
        state=text,
        result_id=text,
        inputs=(InputResult(text, text, text, text), InputResult('A', 'b', 'c', asked_later=True)) if text else (),
        outputs=(OutputFile(text, None, None), OutputFile('a', 7, 1.5)) if text else (),
        started=text,
        ended=text,
        seconds=1e-06,
        error=text,
        build_id=text,
        host=text,
        notebook=text,
        notebook_inode=len(text),
        versions={'python': text},
        code=text,
        unknown=(text, 'b') if text else (),
        checks=(text, '') if text else (),
    )
    written = record.to_json()
    assert asdict(RunRecord.from_json(written)) == asdict(record)
    assert json.dumps(text, ensure_ascii=False) in written  # not escaped: people read it
    assert RunRecord.from_json(record.to_json()) == record


def test_a_record_tells_what_made_the_result() -> None:
    kartnb.build(Downstream())
    record, upstream = _record(Downstream()), _record(Upstream())
    assert record.task == 'Downstream'
    assert record.unique_id == Downstream().make_unique_id()
    assert record.parameters == {'depth': '2', 'fail': 'False'}
    assert record.state == 'done'
    assert record.inputs == (InputResult('Upstream', Upstream().make_unique_id(), upstream.result_id),)
    [output] = record.outputs
    assert output.path == Downstream().output().path()
    assert output.size == Path(output.path).stat().st_size
    assert record.started <= record.ended
    assert record.versions['kartnb'] == kartnb.__version__
    assert record.format_version == FORMAT_VERSION


def test_a_cached_input_is_named_by_the_result_that_it_was() -> None:
    kartnb.build(Upstream())
    result_id = _record(Upstream()).result_id
    kartnb.build(Downstream())
    assert _record(Downstream()).inputs[0].result_id == result_id


def test_a_rerun_replaces_the_record(workspace: Path) -> None:
    kartnb.build(Upstream())
    first = _record(Upstream()).result_id
    kartnb.build(Upstream(), rerun=True)
    assert _record(Upstream()).result_id != first
    assert len(list((workspace / 'log/run_record').rglob('Upstream*.json'))) == 1


def test_a_failure_is_recorded_and_the_result_keeps_its_record(workspace: Path) -> None:
    kartnb.build(Downstream())
    kept = _record(Downstream())
    with pytest.raises(kartnb.GokartBuildError):
        kartnb.build(Downstream(fail=True), rerun=True)
    directory = RecordDirectory('./resources/', __name__)
    stem = f'Downstream_{Downstream().make_unique_id()}'
    failure = RunRecord.from_json(directory.read_failure(stem) or '')
    assert (failure.state, failure.error, failure.result_id) == ('failed', 'ValueError: asked to', '')
    assert _record(Downstream()) == kept
    kartnb.build(Downstream(), rerun=True)
    assert RecordDirectory('./resources/', __name__).read_failure(stem) is None


def test_secrets_are_in_no_file_but_what_identity_needs(workspace: Path) -> None:
    kartnb.build(Downstream())
    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(Downstream(fail=True), rerun=True)
    assert 's3cret' not in str(caught.value)
    telling = {path.parent.name for path in workspace.rglob('*') if path.is_file() and b's3cret' in path.read_bytes()}
    assert telling == {'task_params'}
    [params] = (workspace / 'log/task_params').glob('Downstream*')
    assert b'private-s3cret' not in params.read_bytes()


def test_no_foreign_file_lies_in_gokarts_directories(workspace: Path) -> None:
    kartnb.build(Downstream())
    for kind in ('module_versions', 'processing_time', 'random_seed', 'task_log', 'task_params'):
        stems = {path.stem.split('_')[0] for path in (workspace / 'log' / kind).iterdir()}
        assert stems == {'Upstream', 'Downstream'}


def test_two_records_of_one_task_give_the_newer(workspace: Path) -> None:
    import os

    kartnb.build(Upstream())
    [path] = (workspace / 'log/run_record').rglob('*.json')
    other = path.with_name(path.name.split('~')[0] + '~rffffffffffff.json')
    other.write_text(path.read_text())
    os.utime(other, (1, 1))
    assert RecordDirectory('./resources/', __name__).result_id(path.name.split('~')[0]) in path.name


@pytest.mark.parametrize('text', ['', '[]', '{}', '{"format_version": 1}', 'nonsense'])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r'not a run record|damaged|Expecting value'):
        RunRecord.from_json(text)


def test_a_record_of_a_newer_format_says_what_to_do() -> None:
    with pytest.raises(ValueError, match='install a newer kartnb'):
        RunRecord.from_json(json.dumps({'format_version': FORMAT_VERSION + 1}))
