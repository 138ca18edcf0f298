"""The unique id: what counts in it, what does not, and what a wrong `requires` is told."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import itertools
from typing import Any

import luigi
import luigi.util
import numpy as np
import pytest
from luigi.task_register import Register

import kartnb
from kartnb.errors import RequirementError


class Any1(kartnb.TaskOnKart):
    v: Any = luigi.Parameter()

    def output(self) -> Any:
        return self.make_target()


class Structured(kartnb.TaskOnKart):
    d = luigi.DictParameter(default={})
    l = luigi.ListParameter(default=[])  # noqa: E741


def text_id(*parts: Any) -> str:
    return hashlib.md5(str(list(parts)).encode()).hexdigest()


ALIKE: list[tuple[Any, ...]] = [
    (1, 1.0, True, np.int64(1), np.float64(1)),
    (0, 0.0, -0.0, False),
    (decimal.Decimal('1.0'), decimal.Decimal('1'), decimal.Decimal('1.00')),
    (2**53, float(2**53)),
    ('', None),
]


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('values', ALIKE, ids=str)
def test_a_value_hashes_as_it_serialises_whatever_was_made_first(values: tuple[Any, ...]) -> None:
    for order in itertools.permutations(values):
        Register.clear_instance_cache()
        tasks = [Any1(v=value) for value in order]
        for task, value in zip(tasks, order, strict=True):
            assert type(task.v) is type(value)
            assert task.make_unique_id() == text_id({'v': str(value)}, 'Any1')


@pytest.mark.parametrize('inside', [lambda v: [v], lambda v: [[v]], lambda v: [{'k': v}]])
def test_values_inside_of_structures_too(inside: Any) -> None:
    ids = [Structured(l=inside(value)).make_unique_id() for value in (1, 1.0, True, 0, 0.0, -0.0, False)]
    assert len(set(ids)) == len(ids)


def test_the_order_of_a_dict_counts_whatever_was_made_first() -> None:
    for keys in ('ab', 'ba'):
        Register.clear_instance_cache()
        tasks = {order: Structured(d=dict.fromkeys(order, 1)) for order in (keys, keys[::-1])}
        assert tasks['ab'].to_str_params()['d'] == '{"a": 1, "b": 1}'
        assert tasks['ba'].to_str_params()['d'] == '{"b": 1, "a": 1}'
        assert tasks['ab'].make_unique_id() != tasks['ba'].make_unique_id()


def test_numpy_numbers_hash_as_they_print() -> None:
    class Rate(kartnb.TaskOnKart):
        rate = luigi.FloatParameter()

    assert Rate(rate=np.float64(0.5)).make_unique_id() == Rate(rate=0.5).make_unique_id()
    assert Rate(rate=np.float32(0.1)).make_unique_id() == Rate(rate=0.1).make_unique_id()


def test_optional_values_none_and_empty_text_collide() -> None:
    class Optional(kartnb.TaskOnKart):
        o = luigi.OptionalParameter(default=None)

    assert Optional(o='').make_unique_id() == Optional().make_unique_id()


class TestInstances:
    def test_the_same_values_give_the_same_instance(self) -> None:
        assert Any1(v='a') is Any1(v='a')
        assert Any1(v='a') is not Any1(v='b')
        assert Structured(l=[1]) is Structured(l=(1,))
        assert Structured() is Structured(l=[], d={})

    def test_insignificant_values_make_another_equal_instance(self) -> None:
        one, other = Any1(v='a'), Any1(v='a', workspace_directory='elsewhere')
        assert one is not other
        assert one == other
        assert hash(one) == hash(other)
        assert one.output().path() != other.output().path()

    def test_tasks_that_hold_them_are_different_instances(self) -> None:
        class Holder(kartnb.TaskOnKart):
            task = kartnb.TaskInstanceParameter()

        one, other = Any1(v='a'), Any1(v='a', workspace_directory='elsewhere')
        assert Holder(task=other).task is other
        assert Holder(task=one).task is one

    def test_a_hidden_value_makes_another_task(self) -> None:
        class Hidden(kartnb.TaskOnKart):
            h = luigi.Parameter(visibility=luigi.parameter.ParameterVisibility.HIDDEN)

        assert Hidden(h='a') != Hidden(h='b')
        assert Hidden(h='a').make_unique_id() != Hidden(h='b').make_unique_id()

    def test_unhashable_values_make_an_instance_each(self) -> None:
        one, other = Structured(), Structured()
        assert one is other
        value = {'not': 'frozen'}
        with pytest.warns(UserWarning, match='not of type string'):
            tasks = [Any1(v=value), Any1(v=value)]
        assert tasks[0] is not tasks[1]
        assert tasks[0] == tasks[1]

    def test_clearing_luigis_cache(self) -> None:
        before = Any1(v='a')
        Register.clear_instance_cache()
        assert Any1(v='a') is not before
        assert Any1(v='a') == before

    def test_disabling_luigis_cache(self) -> None:
        before = Any1(v='a')
        Register.disable_instance_cache()
        try:
            assert Any1(v='a') is not Any1(v='a')
            assert Any1(v='a') == before
        finally:
            Register.clear_instance_cache()
        assert Any1(v='a') is Any1(v='a')

    def test_a_task_of_another_class_is_another_task(self) -> None:
        class Child(Any1):
            pass

        assert Child(v='a') != Any1(v='a')
        assert Any1(v='a') != 'a'


class Leaf(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=1)


class PlainTask(luigi.Task):
    p = luigi.Parameter(default='x')
    secret = luigi.Parameter(default='s', visibility=luigi.parameter.ParameterVisibility.PRIVATE)
    unimportant = luigi.Parameter(default='u', significant=False)


class Requires(kartnb.TaskOnKart):
    """Requires what the test has put into `shape`."""

    shape: Any = None
    cache_unique_id = kartnb.ExplicitBoolParameter(default=False, significant=False)

    def requires(self) -> Any:
        return type(self).shape()


class TestRequires:
    @pytest.mark.parametrize(
        'shape, parts',
        [
            (lambda: None, []),
            (list, []),
            (dict, []),
            (lambda: Leaf(), [1]),
            (lambda: [Leaf(n=2), Leaf()], [2, 1]),
            (lambda: (Leaf(n=2), [Leaf()]), [2, 1]),
            (lambda: {'b': Leaf(), 'a': Leaf(n=2)}, [1, 2]),
            (lambda: {'b': {'c': [Leaf(n=3)]}, 'a': (Leaf(n=2),)}, [3, 2]),
            (lambda: (Leaf(n=n) for n in (1, 2)), [1, 2]),
            (lambda: [Leaf(), Leaf()], [1, 1]),
            (lambda: [Leaf(significant=False), Leaf(n=2)], [2]),
        ],
    )
    def test_every_shape(self, shape: Any, parts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Requires, 'shape', staticmethod(shape))
        upstream = [text_id({'n': str(n)}, 'Leaf') for n in parts]
        assert Requires().make_unique_id() == text_id(*upstream, {}, 'Requires')

    def test_a_plain_luigi_task_counts_by_its_parameters(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Requires, 'shape', staticmethod(lambda: [PlainTask(), Leaf()]))
        assert Requires().make_unique_id() == text_id({'p': 'x'}, Leaf().make_unique_id(), {}, 'Requires')

    def test_a_task_with_an_id_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Own(kartnb.TaskOnKart):
            def make_unique_id(self) -> str:
                return f'own-{super().make_unique_id()[:4]}'

        monkeypatch.setattr(Requires, 'shape', staticmethod(lambda: [Own()]))
        assert Requires().make_unique_id() == text_id(f'own-{text_id({}, "Own")[:4]}', {}, 'Requires')
        assert kartnb.plan(Requires()).root.unique_id == Requires().make_unique_id()
        assert (
            Own().output().path() == f'./resources/{Own.__module__.replace(".", "/")}/Own_{Own().make_unique_id()}.pkl'
        )

    @pytest.mark.parametrize(
        'shape, message',
        [
            (lambda: Leaf, 'Requires.requires() gives the class Leaf: give an instance, Leaf(…).'),
            (
                lambda: [Leaf(), PlainTask],
                'Requires.requires() gives the class PlainTask: give an instance, PlainTask(…).',
            ),
            (lambda: 'Leaf', "Requires.requires() gives 'Leaf' (str), which is not a task: give task instances."),
            (lambda: {'a': 3}, 'Requires.requires() gives 3 (int), which is not a task: give task instances.'),
            (lambda: [None, Leaf()], None),
        ],
    )
    def test_what_is_no_task(self, shape: Any, message: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Requires, 'shape', staticmethod(shape))
        if message is None:
            assert Requires().make_unique_id() == text_id(Leaf().make_unique_id(), {}, 'Requires')
            return
        for question in (lambda: Requires().make_unique_id(), lambda: kartnb.plan(Requires())):
            with pytest.raises(RequirementError) as caught:
                question()
            assert str(caught.value) == message
        assert isinstance(caught.value, ValueError), "gokart's type"

    def test_the_default_is_the_tasks_on_the_instance(self) -> None:
        class Default(kartnb.TaskOnKart):
            b = kartnb.TaskInstanceParameter()
            a = kartnb.ListTaskInstanceParameter()
            empty = kartnb.ListTaskInstanceParameter(default=[])

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.extra = Leaf(n=9)
                self.mixed = (Leaf(), 'no task')
                self.in_a_list = [Leaf()]

        task = Default(b=Leaf(n=2), a=[Leaf(n=3)])
        assert task.requires() == {'b': Leaf(n=2), 'a': (Leaf(n=3),), 'extra': Leaf(n=9)}
        assert list(task.requires()) == ['b', 'a', 'extra']
        assert Leaf().requires() == []

    def test_two_parameters_with_one_object(self) -> None:
        class Twice(kartnb.TaskOnKart):
            a = b = luigi.IntParameter(default=4)

        assert Twice().to_str_params(only_significant=True) == {'a': '4', 'b': '4'}


class TestCycles:
    def test_a_task_that_requires_itself(self) -> None:
        class Narcissus(kartnb.TaskOnKart):
            def requires(self) -> Any:
                return Narcissus()

        with pytest.raises(kartnb.CyclicRequirementsError, match='Narcissus requires itself: Narcissus → Narcissus'):
            Narcissus().make_unique_id()

    @pytest.mark.parametrize('question', [lambda task: task.make_unique_id(), kartnb.plan, kartnb.build, repr])
    def test_a_longer_cycle_names_its_tasks(self, question: Any) -> None:
        class Start(kartnb.TaskOnKart):
            def requires(self) -> Any:
                return Clean()

        class Clean(kartnb.TaskOnKart):
            def requires(self) -> Any:
                return [Leaf(), Train()]

        class Train(kartnb.TaskOnKart):
            def requires(self) -> Any:
                return {'again': Clean()}

        with pytest.raises(
            kartnb.CyclicRequirementsError, match='Clean requires itself: Clean → Train → Clean'
        ) as caught:
            question(Start())
        assert isinstance(caught.value, RecursionError)
        assert Leaf().make_unique_id()

    def test_a_diamond_is_no_cycle(self) -> None:
        class Left(kartnb.TaskOnKart):
            def requires(self) -> Any:
                return Leaf()

        class Top(kartnb.TaskOnKart):
            def requires(self) -> Any:
                return [Left(), Leaf(), Left()]

        left = Left().make_unique_id()
        assert Top().make_unique_id() == text_id(left, Leaf().make_unique_id(), left, {}, 'Top')


class TestCaching:
    def test_an_id_is_computed_once(self) -> None:
        calls = []

        class Counted(kartnb.TaskOnKart):
            def requires(self) -> Any:
                calls.append(self)
                return Leaf()

        for _ in range(3):
            Counted().make_unique_id()
        assert len(calls) == 1

    def test_unless_the_task_says_otherwise(self) -> None:
        state = {'n': 1}

        class Changing(kartnb.TaskOnKart):
            def requires(self) -> Any:
                return Leaf(n=state['n'])

        task, kept = Changing(cache_unique_id=False), Changing()
        first = (task.make_unique_id(), kept.make_unique_id())
        state['n'] = 2
        assert task.make_unique_id() != first[0]
        assert kept.make_unique_id() == first[1]

    def test_dates_of_two_types(self) -> None:
        class Dated(kartnb.TaskOnKart):
            day = luigi.DateParameter()

        assert Dated(day=datetime.datetime(2024, 1, 2, 3)) is Dated(day=datetime.date(2024, 1, 2))


class TestNames:
    def test_the_namespace_is_in_the_text_form_but_not_in_the_id(self) -> None:
        class Spaced(Leaf):
            task_namespace = 'a.b'

        class Holder(kartnb.TaskOnKart):
            task = kartnb.TaskInstanceParameter()

        assert Spaced().make_unique_id() == text_id({'n': '1'}, 'Spaced')
        assert '"type": "a.b.Spaced"' in Holder(task=Spaced()).to_str_params()['task']

    def test_base_parameters_come_first_then_those_of_decorators(self) -> None:
        class Base(kartnb.TaskOnKart):
            z = luigi.Parameter(default='z')

        @luigi.util.inherits(Leaf)
        class Child(Base):
            a = luigi.Parameter(default='a')

        assert list(Child().to_str_params(only_significant=True)) == ['n', 'z', 'a']

    @pytest.mark.parametrize('decorator', [luigi.util.requires(Leaf), luigi.util.requires(Leaf, Any1)])
    def test_requires_decorators(self, decorator: Any) -> None:
        @decorator
        class Child(kartnb.TaskOnKart):
            pass

        known = dict(Child.get_params())
        child = Child(n=4, **({'v': 'x'} if 'v' in known else {}))
        assert child.requires() == ([Leaf(n=4), Any1(v='x')] if 'v' in known else Leaf(n=4))

    def test_requires_decorator_with_names(self) -> None:
        @luigi.util.requires(first=Leaf, second=Any1)
        class Child(kartnb.TaskOnKart):
            pass

        assert Child(v='x').requires() == {'first': Leaf(), 'second': Any1(v='x')}
