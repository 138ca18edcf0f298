"""`load`, `load_generator`, `dump` and the targets that a task makes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gokart
import luigi
import numpy as np
import pandas as pd
import pytest

import kartnb
from kartnb.errors import InputError, MissingResultError, OutputError, UnknownFormatError
from kartnb.storage.targets import TargetOnKart, make_target


class Number(kartnb.TaskOnKart[int]):
    n = luigi.IntParameter(default=1)

    def run(self) -> None:
        self.dump(self.n)


class TextFile(luigi.Task):
    """A task of luigi's own, with a file that kartnb can read by its extension."""

    name = luigi.Parameter(default='lines.txt')

    def output(self) -> Any:
        return luigi.LocalTarget(self.name)

    def run(self) -> None:
        with self.output().open('w') as file:
            file.write('first\nsecond\n')


class Flag(luigi.Target):
    """A target that holds nothing."""

    def exists(self) -> bool:
        return True


class Flagged(luigi.ExternalTask):
    def output(self) -> Any:
        return Flag()


def consumer(required: Any, ask: Callable[[Any], Any]) -> Any:
    """Build a task that requires something and dumps what it asks itself in `run`."""

    class Consumer(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return required

        def run(self) -> None:
            self.dump(ask(self))

    return kartnb.build(Consumer(rerun=True))


class TestLoad:
    @pytest.mark.parametrize(
        'required, loaded',
        [
            (Number(n=5), 5),
            ([Number(n=1), Number(n=2)], [1, 2]),
            ((Number(n=1), Number(n=2)), [1, 2]),
            ({'a': Number(n=1), 'b': Number(n=2)}, {'a': 1, 'b': 2}),
            ({'a': [Number(n=1), {'c': (Number(n=2),)}]}, {'a': [1, {'c': [2]}]}),
            ([], []),
            ({}, {}),
            (None, []),
        ],
        ids=str,
    )
    def test_everything_in_the_shape_of_requires(self, required: Any, loaded: Any) -> None:
        assert consumer(required, lambda task: task.load()) == loaded

    def test_a_generator_gives_a_list(self) -> None:
        class Lazy(kartnb.TaskOnKart):
            def requires(self) -> Any:
                yield Number(n=1)
                yield Number(n=2)

            def run(self) -> None:
                self.dump(self.load())

        assert kartnb.build(Lazy()) == [1, 2]

    @pytest.mark.parametrize(
        'wanted, loaded',
        [
            ('a', 1),
            ('b', [2, 3]),
            (Number(n=2), 2),
            ([Number(n=3), Number(n=1)], [3, 1]),
            ((Number(n=3), Number(n=1)), [3, 1]),
            (['a', 'b'], [1, [2, 3]]),
            ([], []),
        ],
        ids=str,
    )
    def test_by_name_and_by_task(self, wanted: Any, loaded: Any) -> None:
        required = {'a': Number(n=1), 'b': [Number(n=2), Number(n=3)]}
        assert consumer(required, lambda task: task.load(wanted)) == loaded

    def test_a_target(self) -> None:
        assert consumer([Number(n=4)], lambda task: task.load(Number(n=4).output())) == 4

    def test_several_outputs(self) -> None:
        class Several(kartnb.TaskOnKart):
            def output(self) -> Any:
                return {'x': self.make_target('x.pkl'), 'y': [self.make_target('y.txt'), self.make_target('z.json')]}

            def run(self) -> None:
                outputs = self.output()
                self.dump(1, 'x')
                self.dump(['line'], outputs['y'][0])
                self.dump({'k': [1, 2]}, outputs['y'][1])

        loaded = consumer({'s': Several()}, lambda task: task.load('s'))
        assert loaded['x'] == 1
        assert loaded['y'][0] == ['line']
        assert loaded['y'][1].to_dict('list') == {'k': [1, 2]}
        assert kartnb.build(Several())['x'] == 1

    @pytest.mark.parametrize('value', [(1, (2, 3)), [1], {'a': (1,)}, None, b'bytes', np.float64(2)], ids=str)
    def test_a_value_comes_back_as_it_was(self, value: Any) -> None:
        class Dumps(kartnb.TaskOnKart):
            def run(self) -> None:
                self.dump(value)

        assert kartnb.build(Dumps(rerun=True)) == value
        assert type(kartnb.build(Dumps())) is type(value)
        assert consumer({'d': Dumps()}, lambda task: task.load('d')) == value

    def test_an_unknown_name(self) -> None:
        class Consumer(kartnb.TaskOnKart):
            def requires(self) -> Any:
                return {'train': Number(), 'test': Number(n=2)}

        with pytest.raises(InputError) as caught:
            Consumer().load('trian')
        assert str(caught.value) == "Consumer has no input named 'trian': did you mean 'train'?"
        with pytest.raises(InputError) as caught:
            Consumer().load('x')
        assert str(caught.value) == "Consumer has no input named 'x': it has 'train', 'test'."
        assert isinstance(caught.value, KeyError), "gokart's type"

    def test_a_name_where_there_are_none(self) -> None:
        class Consumer(kartnb.TaskOnKart):
            def requires(self) -> Any:
                return [Number()]

        with pytest.raises(
            AssertionError, match=r"^input must be dict\[str, TargetOnKart\], but <class 'list'> is passed"
        ):
            Consumer().load('a')

    def test_a_task_that_is_not_required(self) -> None:
        message = _message(lambda: consumer([Number()], lambda task: task.load(Number(n=9))))
        assert 'InputError: Number[' in message
        assert '](n=9) should be in requires method of Consumer: only results of required' in message

    def test_a_task_that_is_required_with_other_insignificant_values(self) -> None:
        other = Number(n=3, rerun=True)
        assert consumer([Number(n=3)], lambda task: task.load(other)) == 3

    def test_before_it_was_made(self) -> None:
        class Consumer(kartnb.TaskOnKart):
            def requires(self) -> Any:
                return Number(n=77)

        with pytest.raises(MissingResultError) as caught:
            Consumer().load()
        assert Number(n=77).output().path() in str(caught.value)
        assert isinstance(caught.value, FileNotFoundError)


class TestPlainLuigiTasks:
    """In gokart, a task that requires a plain `luigi.Task` can neither load nor dump."""

    def test_their_files_are_read_by_their_extension(self) -> None:
        assert consumer(TextFile(), lambda task: task.load()) == ['first', 'second']
        assert consumer({'t': TextFile(), 'n': Number()}, lambda task: task.load('t')) == ['first', 'second']
        assert consumer([TextFile()], lambda task: task.load(TextFile())) == ['first', 'second']
        assert consumer([TextFile()], lambda task: list(task.load_generator())) == [['first', 'second']]

    def test_they_can_be_opened_as_in_luigi(self) -> None:
        def ask(task: Any) -> str:
            with task.input().open() as file:
                return str(file.read())

        assert consumer(TextFile(), ask) == 'first\nsecond\n'

    def test_an_extension_without_a_format(self) -> None:
        message = _message(lambda: consumer(TextFile(name='x.unknown'), lambda task: task.load()))
        assert ".unknown is not supported. The supported extensions are ['.txt'" in message or '.unknown' in message

    def test_a_target_without_a_file(self) -> None:
        message = _message(lambda: consumer(Flagged(), lambda task: task.load()))
        assert 'A Flag cannot be loaded: open it through self.input().' in message

    def test_gokart_cannot(self) -> None:
        class GokartConsumer(gokart.TaskOnKart):
            def requires(self) -> Any:
                return TextFile()

        TextFile().run()
        with pytest.raises(AttributeError):
            GokartConsumer().load()
        with pytest.raises((AttributeError, TypeError)):
            GokartConsumer().dump(1)


def _message(function: Callable[[], Any]) -> str:
    with pytest.raises(kartnb.GokartBuildError) as caught:
        function()
    return str(caught.value)


class TestLoadGenerator:
    @pytest.mark.parametrize(
        'required, loaded',
        [
            (Number(n=5), [5]),
            ([Number(n=1), Number(n=2)], [1, 2]),
            ({'a': Number(n=1), 'b': Number(n=2)}, [1, 2]),
            ({'a': [Number(n=1), {'c': Number(n=2)}]}, [1, 2]),
            ([], []),
        ],
        ids=str,
    )
    def test_one_after_the_other(self, required: Any, loaded: Any) -> None:
        assert consumer(required, lambda task: list(task.load_generator())) == loaded

    def test_by_name_and_by_task(self) -> None:
        required = {'a': Number(n=1), 'b': [Number(n=2), Number(n=3)]}
        assert consumer(required, lambda task: list(task.load_generator('b'))) == [2, 3]
        assert consumer(required, lambda task: list(task.load_generator([Number(n=3), Number(n=1)]))) == [3, 1]

    def test_it_loads_only_what_is_asked_for(self) -> None:
        def ask(task: Any) -> Any:
            results = task.load_generator()
            first = next(results)
            Path(Number(n=2).output().path()).unlink()
            with pytest.raises(MissingResultError):
                next(results)
            return first

        assert consumer([Number(n=1), Number(n=2)], ask) == 1

    def test_gokart_gives_the_keys_of_a_dict(self) -> None:
        class GokartNumber(gokart.TaskOnKart):
            def output(self) -> Any:
                return self.make_target('number.pkl', use_unique_id=False)

        class GokartConsumer(gokart.TaskOnKart):
            def requires(self) -> Any:
                return {'a': GokartNumber()}

        make_target('./resources/number.pkl').dump(1)
        assert list(GokartConsumer().load_generator()) == ['a']


class Outputs(kartnb.TaskOnKart):
    def output(self) -> Any:
        return {'model': self.make_target('model.pkl'), 'scores': self.make_target('scores.csv')}


class TestDump:
    def test_by_name(self) -> None:
        Outputs().dump([1], 'model')
        assert Outputs().output()['model'].load() == [1]
        assert not Outputs().output()['scores'].exists()

    def test_to_a_target(self) -> None:
        target = make_target('elsewhere/x.pkl')
        Outputs().dump({'a': 1}, target)
        assert pickle.loads(Path('elsewhere/x.pkl').read_bytes()) == {'a': 1}

    @pytest.mark.parametrize(
        'arguments, message',
        [
            ((1,), "Outputs has several outputs ('model', 'scores'): say which one, as in dump(obj, 'model')."),
            ((1, 'modle'), "Outputs has no output named 'modle': did you mean 'model'?"),
            ((1, 'zzz'), "Outputs has no output named 'zzz': it has 'model', 'scores'."),
        ],
        ids=str,
    )
    def test_an_unclear_output(self, arguments: tuple[Any, ...], message: str) -> None:
        with pytest.raises(OutputError) as caught:
            Outputs().dump(*arguments)
        assert str(caught.value) == message
        assert not Path('resources').exists()

    @pytest.mark.parametrize('output', [[], None, [make_target('a.pkl')], 'a.pkl', luigi.LocalTarget('a.pkl')], ids=str)
    def test_an_output_that_dump_cannot_write(self, output: Any) -> None:
        class Odd(kartnb.TaskOnKart):
            def output(self) -> Any:
                return output

        with pytest.raises(OutputError, match=r'Odd has the output .*, which dump cannot write'):
            Odd().dump(1)

    def test_a_name_without_several_outputs(self) -> None:
        with pytest.raises(OutputError, match="Number has no output named 'a'"):
            Number().dump(1, 'a')

    def test_a_value_of_a_wrong_type(self) -> None:
        class Table(kartnb.TaskOnKart):
            def output(self) -> Any:
                return self.make_target('table.csv')

        with pytest.raises(TypeError, match='csv') as caught:
            Table().dump({'not': 'a frame'})
        assert 'Series' in str(caught.value) or 'frame' in str(caught.value)
        assert not Table().output().exists()

    def test_a_failing_dump_leaves_the_older_result(self) -> None:
        class Unpicklable:
            def __reduce__(self) -> Any:
                raise RuntimeError('half way')

        Number().dump(1)
        with pytest.raises(Exception, match='half way'):
            Number().dump([list(range(10_000)), Unpicklable()])
        assert Number().output().load() == 1
        assert [file.name for file in Path(Number().output().path()).parent.iterdir()] == [
            Path(Number().output().path()).name
        ]

    def test_without_insignificant_trouble_from_requires(self) -> None:
        """gokart calls `requires` at each dump, and fails where it gives None."""

        class NoRequires(kartnb.TaskOnKart):
            def requires(self) -> Any:
                return None

            def run(self) -> None:
                self.dump(1)

        assert kartnb.build(NoRequires()) == 1

        class GokartNoRequires(gokart.TaskOnKart):
            def requires(self) -> Any:
                return None

        with pytest.raises(AttributeError):
            GokartNoRequires().dump(1)


class TestTargets:
    def test_paths(self) -> None:
        task, unique_id = Number(), Number().make_unique_id()
        home = Number.__module__.replace('.', '/')
        assert task.make_target().path() == f'./resources/{home}/Number_{unique_id}.pkl'
        assert task.make_target('a.b/c.tar.gz').path() == f'./resources/a.b/c.tar_{unique_id}.gz'
        assert task.make_target('a.csv', use_unique_id=False).path() == './resources/a.csv'
        assert task.make_target('/absolute/x.txt').path() == f'/absolute/x_{unique_id}.txt'
        assert task.make_large_data_frame_target().path() == f'./resources/{home}/Number_{unique_id}.zip'
        assert Number(workspace_directory='w').make_target('x.png').path() == f'w/x_{unique_id}.png'

    def test_a_model_is_a_zip(self) -> None:
        with pytest.raises(AssertionError, match=r'^extension must be zip, but model\.pkl is passed\.$'):
            Number().make_model_target('model.pkl', _save, _load)
        target = Number().make_model_target('model.zip', _save, _load)
        assert target.path() == f'./resources/model_{Number().make_unique_id()}.zip'
        target.dump('weights')
        assert target.load() == 'weights'

    def test_a_large_frame(self) -> None:
        frame = pd.DataFrame({'a': range(1000), 'b': 'text'})
        target = Number().make_large_data_frame_target(max_byte=1000)
        target.dump(frame)
        pd.testing.assert_frame_equal(target.load(), frame)

    def test_an_unknown_extension(self) -> None:
        with pytest.raises(UnknownFormatError, match=r'\.xyz is not supported\. The supported extensions are \['):
            Number().make_target('a.xyz')

    def test_a_format_of_ones_own(self) -> None:
        class Upper(kartnb.storage.formats.base.FileProcessor):
            def load(self, file: Any) -> Any:
                return file.read().decode()

            def dump(self, obj: Any, file: Any) -> None:
                file.write(obj.upper().encode())

            def format(self) -> Any:
                return luigi.format.Nop

        target = Number().make_target('a.shout', processor=Upper())
        target.dump('hello')
        assert target.load() == 'HELLO'

    @pytest.mark.parametrize('kind, expected', [('pandas', pd.DataFrame), ('polars', None), ('lazy', None)])
    def test_the_library_of_frames_follows_from_the_class(self, kind: str, expected: Any) -> None:
        polars = pytest.importorskip('polars')
        frames = {'pandas': pd.DataFrame, 'polars': polars.DataFrame, 'lazy': polars.LazyFrame}

        class Base(kartnb.TaskOnKart[frames[kind]]):  # type: ignore[misc]
            def output(self) -> TargetOnKart:
                return self.make_target('frame.csv')

        class Child(Base):
            pass

        for cls in (Base, Child):
            make_target(cls().output().path()).dump(pd.DataFrame({'a': [1]}))
            assert isinstance(cls().output().load(), frames[kind])


def _save(model: Any, path: str) -> None:
    Path(path).write_text(model)


def _load(path: str) -> Any:
    return Path(path).read_text()
