"""kartnb's own parameter types: tasks, lists of tasks, explicit booleans, serialisable objects, times with a zone."""

from __future__ import annotations

import bz2
import datetime
import enum
import json
import warnings
from dataclasses import dataclass, field
from typing import Any

import luigi
import pytest
from luigi.cmdline_parser import CmdlineParser
from luigi.parameter import MissingParameterException
from luigi.task_register import TaskClassNotFoundException

import kartnb


class Leaf(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=1)
    unimportant = luigi.Parameter(default='u', significant=False)


class Other(kartnb.TaskOnKart):
    pass


class Plain(luigi.Task):
    pass


class Holder(kartnb.TaskOnKart):
    task = kartnb.TaskInstanceParameter()


class Strict(kartnb.TaskOnKart):
    task = kartnb.TaskInstanceParameter(expected_type=Leaf)


class Many(kartnb.TaskOnKart):
    tasks = kartnb.ListTaskInstanceParameter(expected_elements_type=Leaf)


class TestTaskInstanceParameter:
    def test_a_task_is_required_by_its_name(self) -> None:
        assert Holder(task=Leaf()).requires() == {'task': Leaf()}

    def test_the_expected_type(self) -> None:
        assert Strict(task=Leaf(n=2)).task.n == 2
        with pytest.raises(TypeError, match=r'^Other\[.*\]\(\) is not an instance of <class .*Leaf'):
            Strict(task=Other())

    @pytest.mark.parametrize('value', [None, 3, 'Leaf', [Leaf()], Plain()], ids=repr)
    def test_what_is_no_task_on_kart(self, value: object) -> None:
        with pytest.raises(TypeError, match='is not an instance of'):
            Holder(task=value)

    def test_a_class_instead_of_an_instance(self) -> None:
        with pytest.raises(TypeError, match=r'is not an instance of .*; write Leaf\(…\)'):
            Holder(task=Leaf)

    def test_a_default_of_a_wrong_type(self) -> None:
        class Wrong(kartnb.TaskOnKart):
            task = kartnb.TaskInstanceParameter(default=None)

        with pytest.raises(TypeError, match='None is not an instance of'):
            Wrong()

    def test_a_default(self) -> None:
        class Default(kartnb.TaskOnKart):
            task = kartnb.TaskInstanceParameter(default=Leaf(n=5))

        assert Default().task is Leaf(n=5)
        assert Default() is Default(task=Leaf(n=5))

    def test_an_expected_type_that_is_none(self) -> None:
        with pytest.raises(TypeError, match=r"expected_type must be a type, not <class 'str'>"):
            kartnb.TaskInstanceParameter(expected_type='Leaf')  # type: ignore[type-var]
        assert kartnb.TaskInstanceParameter().expected_type is kartnb.TaskOnKart

    def test_text_forms(self) -> None:
        parameter = kartnb.TaskInstanceParameter()
        text = parameter.serialize(Leaf(n=3, unimportant='lost'))
        packed = bz2.compress(b'{"n": "3"}').hex()
        assert text == json.dumps({'type': 'Leaf', 'params': packed})
        assert parameter.parse(text) is Leaf(n=3)
        assert parameter.parse({'type': 'Leaf', 'params': {'n': '3'}}) is Leaf(n=3)

    def test_a_text_form_of_an_unknown_class(self) -> None:
        with pytest.raises(TaskClassNotFoundException, match='No task Laef'):
            kartnb.TaskInstanceParameter().parse({'type': 'Laef', 'params': {}})

    def test_nested_text_forms(self) -> None:
        nested = Holder(task=Holder(task=Many(tasks=[Leaf(n=2), Leaf(n=3)])))
        text = kartnb.TaskInstanceParameter().serialize(nested)
        assert kartnb.TaskInstanceParameter().parse(text) is nested

    def test_a_number_keeps_its_kind_in_a_text_form(self) -> None:
        class Rate(kartnb.TaskOnKart):
            rate = luigi.FloatParameter()

        parameter = kartnb.TaskInstanceParameter()
        for value in (3, 3.0, -0.0, 10**25, float('inf')):
            task = Rate(rate=value)
            assert parameter.parse(parameter.serialize(task)) is task

    def test_an_insignificant_one_is_a_dependency_all_the_same(self) -> None:
        class Carefree(kartnb.TaskOnKart):
            task = kartnb.TaskInstanceParameter(significant=False)

        one, other = Carefree(task=Leaf(n=1)), Carefree(task=Leaf(n=2))
        assert one.requires() == {'task': Leaf(n=1)}
        assert one.to_str_params(only_significant=True) == other.to_str_params(only_significant=True)
        assert one.make_unique_id() != other.make_unique_id()


class TestListTaskInstanceParameter:
    def test_a_list_is_kept_as_a_tuple_and_required(self) -> None:
        task = Many(tasks=[Leaf(n=1), Leaf(n=2)])
        assert task.tasks == (Leaf(n=1), Leaf(n=2))
        assert task.requires() == {'tasks': (Leaf(n=1), Leaf(n=2))}

    def test_an_empty_list_is_nothing_required(self) -> None:
        assert Many(tasks=[]).requires() == []

    @pytest.mark.parametrize('value', [[Other()], [Leaf(), 3], [Leaf]], ids=repr)
    def test_elements_of_a_wrong_type(self, value: list[Any]) -> None:
        with pytest.raises(TypeError, match='is not an instance of'):
            Many(tasks=value)

    @pytest.mark.parametrize('value', [Leaf(), 3, None], ids=repr)
    def test_what_is_no_list(self, value: object) -> None:
        with pytest.raises(TypeError, match='tasks must be a list of tasks'):
            Many(tasks=value)

    def test_an_expected_type_that_is_none(self) -> None:
        with pytest.raises(TypeError, match=r"expected_elements_type must be a type, not <class 'int'>"):
            kartnb.ListTaskInstanceParameter(expected_elements_type=3)  # type: ignore[type-var]

    def test_text_form(self) -> None:
        parameter = kartnb.ListTaskInstanceParameter()
        text = parameter.serialize((Leaf(n=2), Leaf(n=3)))
        one = kartnb.TaskInstanceParameter()
        assert json.loads(text) == [one.serialize(Leaf(n=2)), one.serialize(Leaf(n=3))]
        assert parameter.parse(text) == [Leaf(n=2), Leaf(n=3)]


class TestExplicitBoolParameter:
    def test_there_is_no_default_of_its_own(self) -> None:
        class Flagged(kartnb.TaskOnKart):
            flag = kartnb.ExplicitBoolParameter()

        with pytest.raises(MissingParameterException, match="needs a value for 'flag'"):
            Flagged()

    @pytest.mark.parametrize('text, value', [('true', True), ('True', True), ('FALSE', False), ('false', False)])
    def test_its_texts(self, text: str, value: bool) -> None:
        assert kartnb.ExplicitBoolParameter().parse(text) is value

    @pytest.mark.parametrize('text', ['1', '0', 'yes', '', 'no'])
    def test_other_texts(self, text: str) -> None:
        with pytest.raises(ValueError, match='as boolean'):
            kartnb.ExplicitBoolParameter().parse(text)

    def test_the_command_line_wants_a_value(self) -> None:
        class OnCommand(kartnb.TaskOnKart):
            flag = kartnb.ExplicitBoolParameter(default=True)

        with CmdlineParser.global_instance(['OnCommand', '--flag', 'false']) as parser:
            assert parser.get_task_obj().flag is False
        with pytest.raises(SystemExit), CmdlineParser.global_instance(['OnCommand', '--flag']):
            pass


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


@dataclass(frozen=True)
class Settings:
    level: Level
    comment: str = field(default='', compare=False)

    def gokart_serialize(self) -> str:
        return self.level.name

    @classmethod
    def gokart_deserialize(cls, s: str) -> Settings:
        return cls(Level[s])


class TestSerializableParameter:
    def test_its_text_is_the_objects(self) -> None:
        class Configured(kartnb.TaskOnKart):
            settings = kartnb.SerializableParameter(Settings)

        low = Configured(settings=Settings(Level.LOW, 'a'))
        assert low.to_str_params(only_significant=True) == {'settings': 'LOW'}
        assert low.make_unique_id() == Configured(settings=Settings(Level.LOW, 'b')).make_unique_id()
        assert low.make_unique_id() != Configured(settings=Settings(Level.HIGH)).make_unique_id()
        assert Configured.from_str_params({'settings': 'HIGH'}).settings == Settings(Level.HIGH)

    def test_equal_objects_with_different_texts_are_different_values(self) -> None:
        @dataclass(frozen=True)
        class Point:
            x: float

            def gokart_serialize(self) -> str:
                return json.dumps(self.x)

            @classmethod
            def gokart_deserialize(cls, s: str) -> Point:
                return cls(json.loads(s))

        class Located(kartnb.TaskOnKart):
            point = kartnb.SerializableParameter(Point)

        assert Point(1) == Point(1.0)
        assert Located(point=Point(1)).make_unique_id() != Located(point=Point(1.0)).make_unique_id()


class Zoned(kartnb.TaskOnKart):
    at = kartnb.ZonedDateSecondParameter()


UTC = datetime.UTC
TOKYO = datetime.timezone(datetime.timedelta(hours=9))


class TestZonedDateSecondParameter:
    @pytest.mark.parametrize(
        'text, value',
        [
            ('2024-01-02T03:04:05Z', datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
            ('2024-01-02T03:04:05+00:00', datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
            ('2024-01-02T03:04:05+09:00', datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=TOKYO)),
            ('2024-01-02T03:04:05+0900', datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=TOKYO)),
        ],
    )
    def test_texts(self, text: str, value: datetime.datetime) -> None:
        parsed = kartnb.ZonedDateSecondParameter().parse(text)
        assert parsed.isoformat() == value.isoformat()
        assert Zoned(at=parsed).to_str_params()['at'] == value.isoformat()

    def test_a_text_without_a_zone_is_warned_of(self) -> None:
        with pytest.warns(UserWarning, match='has no time zone'):
            kartnb.ZonedDateSecondParameter().parse('2024-01-02T03:04:05')

    def test_microseconds_are_dropped(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            task = Zoned(at=datetime.datetime(2024, 1, 2, 3, 4, 5, 678, tzinfo=UTC))
        assert task.at.microsecond == 0
        assert task is Zoned(at=datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC))

    def test_one_moment_in_two_zones_is_two_values(self) -> None:
        moment = datetime.datetime(2024, 1, 2, 3, tzinfo=UTC)
        elsewhere = moment.astimezone(TOKYO)
        assert moment == elsewhere
        ids = {Zoned(at=moment).make_unique_id(), Zoned(at=elsewhere).make_unique_id()}
        assert len(ids) == 2
        assert Zoned(at=elsewhere).at.isoformat() == '2024-01-02T12:00:00+09:00'
