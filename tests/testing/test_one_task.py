"""`run_task`: one task on given values, whatever it requires, however it runs, and nothing written anywhere."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import luigi
import numpy as np
import pandas as pd
import pytest

import kartnb
from kartnb.errors import InputError, OutputError, TaskArgumentError, TaskNotDumpedError, WrongValueError
from kartnb.testing import run_task

FRAME = pd.DataFrame({'n': [1, 2, 3]})


class Source(kartnb.TaskOnKart[Any]):
    name = luigi.Parameter(default='a')

    def run(self) -> None:
        raise AssertionError('upstream ran')


class Parts(kartnb.TaskOnKart[Any]):
    def output(self) -> Any:
        return {'train': self.make_target('train.pkl'), 'rest': [self.make_target('rest.csv')]}

    def run(self) -> None:
        raise AssertionError('upstream ran')


class One(kartnb.TaskOnKart[Any]):
    def requires(self) -> Any:
        return Source()

    def run(self) -> None:
        self.dump(self.load())


class Named(kartnb.TaskOnKart[Any]):
    def requires(self) -> Any:
        return {'source': Source(), 'several': [Source(name='b'), Source(name='c')], 'parts': Parts()}

    def run(self) -> None:
        self.dump(self.load())


class Listed(kartnb.TaskOnKart[Any]):
    def requires(self) -> Any:
        return [Source(name=name) for name in 'ab']

    def run(self) -> None:
        self.dump(list(self.load_generator()))


class Ways(kartnb.TaskOnKart[Any]):
    def requires(self) -> Any:
        return {'source': Source(), 'parts': Parts()}

    def run(self) -> None:
        source, train = self.input()['source'], self.input()['parts']['train']
        assert source.exists()
        assert Path(source.path()).suffix == '.pkl'
        values = [self.load('source'), self.load(Source()), *self.load([Source()]), source.load()]
        values += [pd.read_pickle(source.path()), Source().output().load(), *self.load_generator(Source())]
        self.dump([values, train.load()])


class Outputs(kartnb.TaskOnKart[Any]):
    def output(self) -> Any:
        return {'frame': self.make_target('frame.csv'), 'more': [self.make_target('n.pkl'), self.make_target('m.txt')]}

    def run(self) -> None:
        self.dump(FRAME, 'frame')
        number, text = self.output()['more']
        number.dump(3)
        Path(text.path()).parent.mkdir(parents=True, exist_ok=True)
        Path(text.path()).write_text('by hand')
        self.make_target('aside.txt').dump('aside')


class Asking(kartnb.TaskOnKart[Any]):
    def run(self) -> Iterator[Any]:
        yield
        first = yield Source()
        second, third = yield [Source(name='b'), Source(name='c')]
        rest = yield luigi.DynamicRequirements({'parts': Parts()})
        self.dump([first.load(), second.load(), third.load(), rest['parts']['train'].load()])


class AskingAsync(kartnb.TaskOnKart[Any]):
    async def run(self) -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        target = yield Source()
        self.dump(target.load())


class Awaiting(kartnb.TaskOnKart[Any]):
    def requires(self) -> Any:
        return Source()

    async def run(self) -> None:
        await asyncio.sleep(0)
        self.dump(self.load() + 1)


@pytest.fixture(autouse=True)
def nothing_written(tmp_path: Path) -> Iterator[None]:
    yield
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('key', [Source, 'Source', Source(), Source(name='a'), kartnb.TaskOnKart])
def test_an_input_by_task_class_and_name(key: Any) -> None:
    assert run_task(One(), {key: [1, 2]}) == [1, 2]


def test_inputs_by_key_in_the_shape_of_what_is_required() -> None:
    parts = {'train': 4, 'rest': [FRAME]}
    found = run_task(Named(), inputs={'source': 1, 'several': [2, 3], 'parts': parts})
    assert (found['source'], found['several'], found['parts']['train']) == (1, [2, 3], 4)
    assert found['parts']['rest'][0].equals(FRAME)


def test_inputs_in_several_ways_at_once() -> None:
    found = run_task(Named(), inputs={'source': 1, Source(name='b'): 2, Source(name='c'): 3, 'parts': {
        'train': 4, 'rest': (5,)}})  # fmt: skip
    assert found == {'source': 1, 'several': [2, 3], 'parts': {'train': 4, 'rest': [5]}}


def test_inputs_of_a_list_by_number() -> None:
    assert run_task(Listed(), inputs={0: 'x', 1: 'y'}) == ['x', 'y']
    assert run_task(Listed(), inputs={Source(name='b'): 'y', 0: 'x'}) == ['x', 'y']


def test_every_way_to_load() -> None:
    assert run_task(Ways(), inputs={'source': 7, Parts: {'train': 8, 'rest': [0]}}) == [[7] * 7, 8]


def test_all_outputs_by_key() -> None:
    found = run_task(Outputs())
    assert found['frame'].equals(FRAME)
    assert found['more'] == [3, ['by hand']]


def test_requirements_that_run_yields() -> None:
    inputs = {Source(): 1, Source(name='b'): 2, Source(name='c'): 3, 'Parts': {'train': 4, 'rest': [5]}}
    assert run_task(Asking(), inputs) == [1, 2, 3, 4]
    assert run_task(AskingAsync(), {'Source': 1}) == 1


def test_coroutines() -> None:
    assert run_task(Awaiting(), {'Source': 1}) == 2

    async def test() -> Any:
        return run_task(Awaiting(), {'Source': 2})

    assert asyncio.run(test()) == 3


class Letter(luigi.Task):
    is_binary = luigi.BoolParameter(default=False)
    extension = luigi.Parameter(default='txt')

    def output(self) -> Any:
        return luigi.LocalTarget(f'letter.{self.extension}', format=luigi.format.Nop if self.is_binary else None)


class ReadLetter(kartnb.TaskOnKart[Any]):
    letter = kartnb.TaskInstanceParameter(expected_type=luigi.Task, default=Letter())

    def requires(self) -> Any:
        return {'letter': self.letter}

    def run(self) -> None:
        with self.input()['letter'].open('r') as file:
            self.dump(file.read())


WRONG = [
    (
        One(),
        None,
        r'needs the result of Source\[\w+\]\(name=a\), which inputs does not have: give inputs=',
    ),
    (Named(), {'source': 1, 'parts': {'train': 1, 'rest': [2]}}, r'Named needs the result of Source.*name=b'),
    (One(), {'Source': 1, 'Sourc': 2}, r"^One does not require inputs\['Sourc'\]: did you mean 'Source'\?$"),
    (Outputs(), {'x': 1}, r"Outputs does not require inputs\['x'\]: its inputs are none."),
    (Asking(), {Source: 1}, 'Asking needs the results of several tasks of Source: give inputs by task'),
    (Asking(), {Source(): 1}, r'Asking needs the result of Source.*name=b'),
    (AskingAsync(), {'Source': 1, Parts: 2}, r'AskingAsync neither requires nor yields inputs\[Parts\]'),
    (Listed(), {'Source': 1}, 'several tasks of Source'),
    (Listed(), {0: 1, 1: 2, 2: 3}, r'Listed does not require inputs\[2\]'),
    (Named(), {'several': [1]}, r"inputs\['several'\] of Named must be a list of 2 values, as what .*, not of 1\."),
    (Named(), {'several': 5}, r'must be a list of 2 values, as what is required there, not a value of type int'),
    (
        Ways(),
        {'source': 1, 'parts': FRAME},
        r"must be a dict with 'train', 'rest', as the outputs of Parts, not",
    ),
    (Ways(), {'source': 1, 'parts': {'train': 1}}, "not one with 'train'"),
    (ReadLetter(), {'letter': b'\xff'}, r"^inputs\['letter'\] of ReadLetter is for the file letter.txt, .*0xff"),
    (ReadLetter(letter=Letter(extension='csv')), {Letter: 5}, r'^inputs\[Letter\] of ReadLetter is for .*csv'),
    (One(), {'Source': 1, Source: 1}, r"^inputs\[Source\] of One is given already, as inputs\['Source'\]: give each"),
    (
        ReadLetter(),
        {'letter': 'x', 'Letter': 'y'},
        r"^inputs\['Letter'\] of ReadLetter is given already, as inputs\['letter'\]: give each input once\.$",
    ),
    (One(), [1], r'inputs of One must be a dict of values by key, task or class, not \[1\]'),
]


@pytest.mark.parametrize('task, inputs, message', WRONG)
def test_wrong_inputs_are_one_sentence(task: Any, inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        run_task(task, inputs)
    assert '\n' not in str(raised.value)


def test_what_is_not_a_task_to_run() -> None:
    class Outside(luigi.ExternalTask):
        pass

    for wrong in (One, 'One', Outside()):
        with pytest.raises(TaskArgumentError):
            run_task(wrong, {})  # type: ignore[call-overload]


def test_outputs_that_are_not_dumped_and_values_that_do_not_fit() -> None:
    class Silent(kartnb.TaskOnKart[Any]):
        def output(self) -> Any:
            return self.make_target('table.csv')

        def run(self) -> None:
            self.dump(3) if self.task_log else None

    with pytest.raises(TaskNotDumpedError, match=r'Silent.run\(\) ended without its output table_\w+.csv: call self'):
        run_task(Silent())
    task = Silent()
    task.task_log['dump'] = True
    with pytest.raises(WrongValueError):
        run_task(task)


def test_what_a_task_raises_is_raised() -> None:
    class Other(Outputs):
        def run(self) -> None:
            self.dump(1, 'fram')

    with pytest.raises(OutputError, match="Other has no output named 'fram': did you mean 'frame'"):
        run_task(Other())


def test_the_task_is_as_it_was() -> None:
    task = One()
    before = {name: value for name, value in vars(task).items() if name not in ('task_unique_id', '_text_forms')}
    source = dict(vars(task.requires()))
    run_task(task, {Source: 1})
    with pytest.raises(InputError):
        run_task(task, {})
    after = vars(task)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) <= {'task_unique_id', '_text_forms', '_id_epoch', 'task_id'}
    assert 'output' in vars(task) or 'output' not in source
    assert not task.complete()


def test_attributes_that_a_test_has_set_are_used() -> None:
    class Fetching(kartnb.TaskOnKart[Any]):
        def run(self) -> None:
            self.task_log['rows'] = 3
            self.dump(self.client.get('/rows'))

    task = Fetching()
    task.client = Mock()
    task.client.get.return_value = [1, 2]
    assert run_task(task) == [1, 2]
    task.client.get.assert_called_once_with('/rows')
    assert task.task_log == {'rows': 3}
    task = One()
    task.load = Mock(return_value=5)
    assert run_task(task, {'Source': 1}) == 5


def test_inputs_are_not_changed_and_mocks_stay_themselves() -> None:
    class Changing(One):
        def run(self) -> None:
            found = self.load()
            if isinstance(found, Mock):
                found()
            else:
                found['new'] = 0
            self.dump(found)

    frame, mock = FRAME.copy(), Mock()
    assert list(run_task(Changing(), {Source: frame})) == ['n', 'new']
    assert list(frame) == ['n']
    assert run_task(Changing(), {Source: mock}) is mock
    mock.assert_called_once_with()


def test_random_numbers_are_those_of_a_build(tmp_path: Path) -> None:
    class Drawing(kartnb.TaskOnKart[Any]):
        def run(self) -> None:
            self.dump([random.random(), np.random.rand(), self.rng.random()])

    random.seed(1)
    state = random.getstate()
    first = run_task(Drawing())
    assert random.getstate() == state
    assert first == run_task(Drawing())
    place = tmp_path / 'elsewhere'
    assert kartnb.build(Drawing(workspace_directory=str(place))) == first
    for file in sorted(place.rglob('*'), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    place.rmdir()


def test_plain_luigi_tasks() -> None:
    class Lines(luigi.Task):
        def output(self) -> Any:
            return luigi.LocalTarget('lines.txt')

    class Rows(luigi.ExternalTask):
        def output(self) -> Any:
            return luigi.LocalTarget('rows.csv')

    class Count(luigi.Task):
        def requires(self) -> Any:
            return [Lines(), Rows()]

        def output(self) -> Any:
            return luigi.LocalTarget('results/count.log')

        def run(self) -> None:
            lines, rows = self.input()
            with lines.open('r') as file, self.output().open('w') as out:
                out.write(f'{len(file.read().split())} {len(pd.read_csv(rows.path))}')

    assert run_task(Count(), {'Lines': 'a b c', Rows: FRAME}) == '3 3'

    class Joined(kartnb.TaskOnKart[Any]):
        def requires(self) -> Any:
            return Rows()

        def run(self) -> None:
            self.dump(len(self.load()))

    assert run_task(Joined(), {Rows: FRAME}) == 3


@pytest.mark.parametrize('given', ['yö', 'yö'.encode()], ids=repr)
def test_text_and_bytes_are_written_as_the_format_of_a_luigi_target_takes_them(given: str | bytes) -> None:
    assert run_task(ReadLetter(), {Letter: given}) == 'yö'
    assert run_task(ReadLetter(letter=Letter(is_binary=True)), {Letter: given}) == 'yö'.encode()
    assert run_task(ReadLetter(letter=Letter(is_binary=True, extension='pkl')), {Letter: given}) == 'yö'.encode()

    class LoadLetter(ReadLetter):
        def run(self) -> None:
            self.dump(self.load('letter'))

    assert run_task(LoadLetter(letter=Letter(extension='pkl')), {Letter: given}) == given


def test_types_of_columns_are_checked() -> None:
    class Types(kartnb.PandasTypeConfig):
        task_namespace = 'typed'

        @classmethod
        def type_dict(cls) -> dict[str, Any]:
            return {'n': str}

    class Typed(One):
        task_namespace = 'typed'

    with pytest.raises(kartnb.PandasTypeError):
        run_task(Typed(), {Source: FRAME})


class Shared(kartnb.TaskOnKart[Any]):
    def run(self) -> None:
        self.dump(1)


class OnShared(kartnb.TaskOnKart[Any]):
    def requires(self) -> Any:
        return Shared()


class BothByKey(kartnb.TaskOnKart[Any]):
    def requires(self) -> Any:
        return {'Shared': OnShared(), 'other': Shared()}

    def run(self) -> None:
        self.dump(self.load())


class OneTwice(kartnb.TaskOnKart[Any]):
    def requires(self) -> Any:
        return {'x': Shared(), 'y': Shared()}

    def run(self) -> None:
        values = self.load()
        self.dump(values)
        values['x'] = 'changed after the dump'


def test_a_key_of_requires_is_no_class_name_too() -> None:
    with pytest.raises(InputError, match='needs the result of Shared'):
        run_task(BothByKey(), inputs={'Shared': 1})


def test_one_task_has_one_value() -> None:
    with pytest.raises(InputError, match='are the same task'):
        run_task(OneTwice(), inputs={'x': 1, 'y': 2})
    assert run_task(OneTwice(), inputs={'x': [1], 'y': [1]}) == {'x': [1], 'y': [1]}
