"""`TaskOnKart`, the base class of kartnb's tasks."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Generator, Iterable, Mapping
from functools import cached_property
from logging import getLogger
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

import luigi
from luigi.task import task_id_str

from kartnb import display
from kartnb.errors import EmptyDumpError, MissingResultError, UnreadableResultError, described
from kartnb.storage import places
from kartnb.storage.file_inputs import checked_path
from kartnb.storage.peek import unread_types
from kartnb.storage.targets import TargetOnKart
from kartnb.task import held, identity, metaclass, registry, results
from kartnb.task.code import prints as code_print
from kartnb.task.code.attributes import BoundRun, class_run, own_run
from kartnb.task.metaclass import KartRegister, ParameterTable, Resolved
from kartnb.task.parameters import (
    ExplicitBoolParameter,
    ListTaskInstanceParameter,
    TaskInstanceParameter,
    check_column_types,
    is_empty_data_frame,
    parsed_exactly,
)
from kartnb.task.randomness import TaskGenerator, seed_of, seed_with
from kartnb.task.secrets import is_secret
from kartnb.task.values import flatten

T = TypeVar('T')
K = TypeVar('K')
TaskT = TypeVar('TaskT', bound=luigi.Task)
PathsT = TypeVar('PathsT')

logger = getLogger('kartnb')

#: These say how one instance is to be run, so a clone does not inherit them.
_NOT_CLONED = frozenset({'rerun', 'strict_check', 'modification_time_check'})
#: There while luigi's own worker has begun to run a task: the `run` that the instance was given, or None.
STARTED = '_started_by_luigi'
#: What runs a task for luigi's worker: a name, as in `kartnb.display`, because no room imports one above it.
_RUNNER = 'kartnb.execution.luigi_worker'
#: What an instance keeps for itself in its process.
_NOT_PICKLED = frozenset(
    {
        'run',
        'on_success',
        'task_id',
        '_before_rerun',
        '_id_epoch',
        '_packed_params',
        '_resolved',
        '_rng',
        '_text_forms',
        '_today',
        STARTED,
    }
)
#: Types of most values of a task, none of which is a task.
_NO_TASKS = frozenset({str, int, float, bool, type(None), dict, BoundRun})


class TaskOnKart(luigi.Task, Generic[T], metaclass=KartRegister):
    """A unit of work with a cached result: declare parameters, `requires`, `output` and `run`.

    The result's file is named after the class and a *unique id*, an md5 of the significant parameters and of the ids of
    all that the task requires, so other parameters give another file and the same ones find the result again.

    ``TaskOnKart[pd.DataFrame]`` says what the task dumps; type checkers then know what `build` and `load` give.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Example(kartnb.TaskOnKart):
    ...     def run(self):
    ...         self.dump('Hello, world!')
    >>> kartnb.build(Example(workspace_directory=tempfile.mkdtemp()))
    'Hello, world!'

    Notes
    -----
    From gokart, with its parameters, ids and files. Where gokart's behaviour was a mistake, ``docs/compatibility.md``
    lists the difference.
    """

    workspace_directory: luigi.Parameter[str] = luigi.Parameter(
        default='./resources/',
        description='Where results are kept: a directory, or a URL such as s3://bucket/prefix.',
        significant=False,
    )
    local_temporary_directory: luigi.Parameter[str] = luigi.Parameter(
        default='./resources/tmp/', description='Where temporary files of model targets are kept.', significant=False
    )
    rerun: luigi.BoolParameter = luigi.BoolParameter(
        default=False,
        description='Run the task, and all that is downstream of it, even if all outputs exist.',
        significant=False,
    )
    strict_check: luigi.BoolParameter = luigi.BoolParameter(
        default=False, description='Count as complete only if all inputs exist too.', significant=False
    )
    modification_time_check: luigi.BoolParameter = luigi.BoolParameter(
        default=False,
        description='Count as complete only if all inputs exist and none is newer than an output.',
        significant=False,
    )
    serialized_task_definition_check: luigi.BoolParameter = luigi.BoolParameter(
        default=False, description="Make the class's source text a part of the unique id.", significant=False
    )
    delete_unnecessary_output_files: luigi.BoolParameter = luigi.BoolParameter(
        default=False, description='Delete output files that the task does not need.', significant=False
    )
    significant: luigi.BoolParameter = luigi.BoolParameter(
        default=True,
        description='Whether the task counts in the unique ids of those that require it.',
        significant=False,
    )
    fix_random_seed_methods: luigi.Parameter[tuple[str, ...]] = luigi.ListParameter(
        default=('random.seed', 'numpy.random.seed'),
        description='The functions that are given the seed before the task runs.',
        significant=False,
    )
    FIX_RANDOM_SEED_VALUE_NONE_MAGIC_NUMBER: ClassVar[int] = -42497368
    fix_random_seed_value: luigi.Parameter[int] = luigi.IntParameter(
        default=FIX_RANDOM_SEED_VALUE_NONE_MAGIC_NUMBER,
        description='The seed; by default it follows from the unique id.',
        significant=False,
    )
    redis_host: luigi.Parameter[str | None] = luigi.OptionalParameter(
        default=None,
        description='The Redis server that holds the locks; without one there are no locks.',
        significant=False,
    )
    redis_port: luigi.OptionalIntParameter = luigi.OptionalIntParameter(
        default=None, description="The Redis server's port.", significant=False
    )
    redis_timeout: luigi.IntParameter = luigi.IntParameter(
        default=180, description='Seconds after which a lock that is not extended is released.', significant=False
    )
    fail_on_empty_dump: luigi.Parameter[bool] = ExplicitBoolParameter(
        default=False, description='Fail when the task dumps an empty data frame.', significant=False
    )
    store_index_in_feather: luigi.Parameter[bool] = ExplicitBoolParameter(
        default=True, description='Keep the index of a data frame in feather files.', significant=False
    )
    cache_unique_id: luigi.Parameter[bool] = ExplicitBoolParameter(
        default=True, description='Compute the unique id once for each instance.', significant=False
    )
    should_dump_supplementary_log_files: luigi.Parameter[bool] = ExplicitBoolParameter(
        default=True,
        description='Write the five log files (seed, parameters, modules, time, task log) beside the result.',
        significant=False,
    )
    complete_check_at_run: luigi.Parameter[bool] = ExplicitBoolParameter(
        default=True, description='Skip run() when the task is complete already.', significant=False
    )
    should_lock_run: luigi.Parameter[bool] = ExplicitBoolParameter(
        default=False, description='Hold a Redis lock while the task runs.', significant=False
    )

    _lock_at_dump: ClassVar[bool] = True

    #: A numpy Generator, seeded for this task, with the same numbers in every executor.
    rng: ClassVar[TaskGenerator] = TaskGenerator()

    # gokart no longer finds any class once two classes that luigi lists have one name
    _visible_in_registry = False
    set_tracking_url = None
    set_status_message = None
    set_progress_percentage = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if TaskOnKart in cls.__bases__ and '_visible_in_registry' not in vars(cls):
            cls._visible_in_registry = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        attributes = self.__dict__
        resolved: Resolved | None = attributes.pop('_resolved', None)
        if resolved is None or not resolved.fits(args, kwargs):
            resolved = type(self).resolve(args, kwargs)
        attributes.update(resolved.values)
        attributes['param_kwargs'] = resolved.values
        # not annotated in the class: type checkers would take them for parameters
        self.task_log: dict[str, Any] = {}
        self.task_unique_id: str | None = None
        self._rerun_pending: bool = resolved.values['rerun']
        self._bind_run()
        if self.should_lock_run:
            results.check_run_lock(self)
            attributes['_lock_at_dump'] = False

    def _bind_run(self) -> None:
        if self.complete_check_at_run and type(self).run is not None and 'run' not in self.__dict__:
            # on the instance, as in gokart: super().run() calls the class's function, which does not check again
            self.__dict__['run'] = BoundRun(_run_here, self)

    def __getstate__(self) -> dict[str, Any]:
        # the id is not carried along: where it is unpickled, definitions may be others
        # copied, as below
        state = {name: value for name, value in vars(self).copy().items() if name not in _NOT_PICKLED}
        own = own_run(self)
        if own is not None:
            state['run'] = own
        if '_made_with' in state:  # by names: a class may leave values out that cannot be pickled
            args, kwargs, made = state['_made_with']
            state['_made_with'] = (args, kwargs, [name for name, value in made.items() if state.get(name) is value])
        return {**state, 'task_unique_id': None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if '_made_with' in state:
            args, kwargs, names = state['_made_with']
            made = {name: self.__dict__[name] for name in names if name in self.__dict__}
            self.__dict__['_made_with'] = (args, kwargs, made)
        self._bind_run()

    @cached_property
    def task_id(self) -> str:
        """luigi's id of the task (kartnb's own is the unique id)."""
        return str(task_id_str(self.get_task_family(), self.to_str_params(only_significant=True, only_public=True)))

    def __hash__(self) -> int:
        return hash(self.task_id)

    def __eq__(self, other: object) -> bool:
        if self is other or type(self) is not type(other):
            return self is other
        # not luigi's task id: it leaves HIDDEN parameters out, which the unique id does not
        return bool(self.to_str_params(only_significant=True) == other.to_str_params(only_significant=True))

    @classmethod
    def get_params(cls) -> list[tuple[str, luigi.Parameter[Any]]]:
        """The parameters of the class, in the order of their declaration, base classes first."""
        return list(cls.parameter_table().parameters.items())

    @classmethod
    def get_param_values(cls, params: Any, args: Any, kwargs: Any) -> list[tuple[str, Any]]:
        """The value of each parameter in `params` for these arguments, in order."""
        wanted = dict(params)
        table = cls.parameter_table()
        if wanted.keys() != table.parameters.keys():
            table = ParameterTable(cls, wanted.items())
        given, defaults = table.explicit_values(tuple(args), kwargs), table.defaults(table.state())
        table.check_used(defaults, given)
        return [(name, given[name] if name in given else defaults.values[name]) for name in wanted]

    _kart_get_param_values: ClassVar[Any] = get_param_values.__func__  # type: ignore[attr-defined]

    def to_str_params(self, only_significant: bool = False, only_public: bool = False) -> dict[str, str]:
        """The parameters as text, by name, in order; PRIVATE ones are left out.

        Parameters
        ----------
        only_significant
            Leave out those that are not part of the unique id.
        only_public
            Leave out HIDDEN ones too.
        """
        forms: dict[tuple[bool, bool], dict[str, str]] = self.__dict__.setdefault('_text_forms', {})
        form = forms.get((only_significant, only_public))
        if form is None:
            identity.warm_text_forms(self)
            values = self.param_kwargs
            form = forms[only_significant, only_public] = {
                name: parameter.serialize(values[name])
                for name, parameter in type(self).parameter_table().in_text_form(only_significant, only_public)
                if name in values  # a parameter may have been added to the class since
            }
        return dict(form)

    def trigger_event(self, event: str, *args: Any, **kwargs: Any) -> None:
        """Call the handlers that are on the task's classes for an event; one that fails is logged.

        luigi's own worker fires START before it calls `run()`, which nobody else does: see `_run_here`.
        """
        metaclass.trigger(self, event, *args, **kwargs)
        if event == luigi.Event.START and type(self).run is not None:
            self.__dict__[STARTED] = own_run(self)
            self.__dict__['run'] = BoundRun(_run_here, self)

    def input(self) -> Any:
        """The outputs of the required tasks, in the shape of `requires()`."""
        required = held.today_nested(self.requires())
        return [] if required is None else luigi.task.getpaths(required)

    def output(self) -> Any:
        """The targets that `run` fills: one, or a list or dict of them. By default one pickle named after the class."""
        return self.make_target()

    def requires(self) -> Any:
        """The tasks that must be complete before this one runs: one, or a list or dict of them.

        By default the tasks that are values of parameters (or other attributes), by name.
        """
        return self.make_task_instance_dictionary() or []

    def make_task_instance_dictionary(self) -> dict[str, Any]:
        """The attributes that are tasks, or non-empty tuples of tasks, by name."""
        # copied: a build in another thread may give the task its id meanwhile
        values = vars(self).copy().items()
        return {name: value for name, value in values if type(value) not in _NO_TASKS and self.is_task_on_kart(value)}

    @staticmethod
    def is_task_on_kart(value: object) -> bool:
        """Whether a value is a task, or a non-empty tuple of tasks."""
        if isinstance(value, tuple):
            return bool(value) and all(isinstance(item, TaskOnKart) for item in value)
        return isinstance(value, TaskOnKart)

    def complete(self) -> bool:
        """Whether the task need not run: all outputs exist, and the checks that its parameters ask for hold.

        A task with `rerun` is not complete until it has run in this build. A task without outputs is never complete.
        """
        return (not self._rerun_pending or results.were_made_again(self)) and results.outputs_are_complete(self)

    @overload
    def clone(self, cls: None = None, **kwargs: Any) -> Self: ...
    @overload
    def clone(self, cls: type[TaskT], **kwargs: Any) -> TaskT: ...
    def clone(self, cls: Any = None, **kwargs: Any) -> Any:
        """A task with the same parameter values, of this class or of `cls`, except for those given.

        `rerun`, `strict_check` and `modification_time_check` are not copied; names that are not parameters are
        ignored.
        """
        kind = type(self) if cls is None else cls
        names = [name for name, _ in kind.get_params()]
        values = {name: getattr(self, name) for name in names if name not in _NOT_CLONED and hasattr(self, name)}
        return kind(**{**values, **{name: value for name, value in kwargs.items() if name in names}})

    @classmethod
    def restore(cls, unique_id: str) -> Self:
        """The instance that has this unique id, from the parameters that were logged in the default workspace.

        Raises
        ------
        FileNotFoundError
            When the workspace has no log of such a task.
        """
        workspace = TaskOnKart().workspace_directory
        path = places.log_path(workspace, 'task_params', cls.__name__, unique_id)
        try:
            params = places.read_params(path)
        except FileNotFoundError:
            raise MissingResultError(
                f'No {cls.__name__} with the id {unique_id} was built in {workspace}.', path
            ) from None
        try:
            restored = cls.from_str_params(params)
        except luigi.parameter.MissingParameterException:  # a secret without a default, which is not logged
            raise
        except Exception as error:  # whatever a parameter raises for a text that it does not know
            raise UnreadableResultError(
                f'{path} does not hold parameters of {cls.__name__} ({described(error)})', path
            ) from error
        if restored.make_unique_id() != unique_id:
            logger.warning(
                'The definition of %s has changed since %s was made: the restored task has another id, %s.',
                cls.__name__,
                unique_id,
                restored.make_unique_id(),
            )
        return restored

    @classmethod
    def from_str_params(cls, params_str: Mapping[str, Any]) -> Self:
        """The instance that has these parameters as text, as `to_str_params` gives them."""
        given = {name: parameter for name, parameter in cls.get_params() if name in params_str}
        return cls(**{name: parsed_exactly(parameter, params_str[name]) for name, parameter in given.items()})

    def make_target(
        self, relative_file_path: str | None = None, use_unique_id: bool = True, processor: Any = None
    ) -> TargetOnKart:
        """A target in the workspace, for `output()`.

        Parameters
        ----------
        relative_file_path
            Where, below the workspace directory; its extension chooses the format. By default
            ``<module path>/<class name>.pkl``. An absolute path is taken as it is.
        use_unique_id
            Whether the unique id goes between name and extension.
        processor
            Reads and writes the file in another way than its extension says.
        """
        return results.make_file_target(self, relative_file_path, use_unique_id, processor)

    def make_large_data_frame_target(
        self, relative_file_path: str | None = None, use_unique_id: bool = True, max_byte: int = 2**26
    ) -> TargetOnKart:
        """A target for a data frame that is kept in parts of at most `max_byte` bytes, in one zip file."""
        return results.make_large_data_frame_target(self, relative_file_path, use_unique_id, max_byte)

    def make_model_target(
        self, relative_file_path: str, save_function: Any, load_function: Any, use_unique_id: bool = True
    ) -> TargetOnKart:
        """A target for a model that saves itself to one or several files, kept in one zip file.

        Parameters
        ----------
        relative_file_path
            A path that ends in ``.zip``.
        save_function
            ``save_function(model, path)`` writes the model to files whose names begin with `path`.
        load_function
            ``load_function(path)`` gives the model back.
        use_unique_id
            Whether the unique id goes between name and extension.
        """
        return results.make_model_target(self, relative_file_path, save_function, load_function, use_unique_id)

    @overload
    def load(self, target: str | TargetOnKart | None = None) -> Any: ...
    @overload
    def load(self, target: TaskOnKart[K]) -> K: ...
    @overload
    def load(self, target: Iterable[TaskOnKart[K]]) -> list[K]: ...
    @overload
    def load(self, target: Iterable[str | TargetOnKart]) -> list[Any]: ...
    def load(self, target: Any = None) -> Any:
        """The results of required tasks, in the shape of `requires()` (lists for tuples).

        Parameters
        ----------
        target
            Which: a key of the dict that `requires()` gives, a required task or a list of them, or a target. All, by
            default.

        Raises
        ------
        InputError
            When the task does not have this input.
        """
        return results.load(self._get_input_targets(target))

    @overload
    def load_generator(
        self, target: str | TargetOnKart | TaskOnKart[Any] | None = None
    ) -> Generator[Any, None, None]: ...
    @overload
    def load_generator(self, target: Iterable[TaskOnKart[K]]) -> Generator[K, None, None]: ...
    @overload
    def load_generator(self, target: Iterable[str | TargetOnKart]) -> Generator[Any, None, None]: ...
    def load_generator(self, target: Any = None) -> Generator[Any, None, None]:
        """The results that `load` gives, one after the other, so that one at a time is in memory; dicts' values."""
        for leaf in flatten(self._get_input_targets(target)):
            yield results.load_target(leaf)

    def reads(self, paths: PathsT) -> PathsT:
        """Say that `run` reads a file whose contents count, and give its path back.

        What Python itself opens is seen without this. It is for readers in native code (pyarrow, polars, HDF5), for
        other programs that a task starts, and for URLs: ``polars.read_parquet(self.reads('sales.parquet'))``.

        Parameters
        ----------
        paths
            The path of a file, of a directory (with all that is below it), a pattern such as ``data/*.csv`` or a URL;
            or a list, tuple or dict of them.

        Raises
        ------
        FileInputError
            When it is not a path; and, while the task runs, when it does not exist.
        """
        for path in flatten(paths):
            sys.audit('kartnb.reads', checked_path(path))
        return paths

    @overload
    def dump(self, obj: T, target: None = None, custom_labels: dict[Any, Any] | None = None) -> None: ...
    @overload
    def dump(self, obj: Any, target: str | TargetOnKart, custom_labels: dict[Any, Any] | None = None) -> None: ...
    def dump(self, obj: Any, target: Any = None, custom_labels: dict[Any, Any] | None = None) -> None:
        """Write a result.

        Parameters
        ----------
        obj
            The value; its output's format says which types it takes.
        target
            Which output: a key of the dict that `output()` gives, or a target. The only one, by default.
        custom_labels
            Labels for the object's metadata on Google Cloud Storage.

        Raises
        ------
        OutputError
            When the task does not have this output.
        WrongValueError
            When the format does not take the value, or it is a coroutine that was not awaited.
        EmptyDumpError
            When `fail_on_empty_dump` is set and `obj` is an empty pandas data frame.
        """
        check_column_types(obj, self.task_namespace)
        results.refuse_unawaited(self, obj)
        if self.fail_on_empty_dump and is_empty_data_frame(obj):
            raise EmptyDumpError(f'{type(self).__name__} dumps an empty data frame, and fail_on_empty_dump is set.')
        chosen = self._get_output_target(target)
        chosen.dump(obj, lock_at_dump=self._lock_at_dump, **results.object_metadata(self, chosen, custom_labels))

    def make_unique_id(self) -> str:
        """The unique id: 32 hexadecimal digits, made of class name, significant parameters and what is required."""
        return identity.unique_id(self)

    get_code = staticmethod(code_print.method_sources)

    def get_own_code(self) -> str:
        """The source of the methods that `TaskOnKart` does not have, sorted and joined.

        Raises
        ------
        OSError
            When the source is not available.
        """
        return code_print.own_source(self, TaskOnKart)

    def get_info(self, only_significant: bool = False) -> dict[str, str]:
        """The parameters as text, by name; task-valued ones as ``Class-<unique id>``, secret ones left out."""
        return {
            name: f'{type(value).__name__}-{value.make_unique_id()}'
            if isinstance(parameter, TaskInstanceParameter)
            else parameter.serialize(value)
            for name, parameter, value in self._displayed(only_significant)
        }

    def get_task_log(self) -> dict[str, Any]:
        """What the task has put into `task_log`, in this process or when it last ran; empty when it has not.

        A log in a file is read without running anything: arrays, frames and objects in it, which have to be loaded, are
        replaced by placeholders that name their types. `kartnb.load_result` loads the file.
        """
        if self.task_log:
            return self.task_log
        path = self._log_path('task_log')
        try:
            log = places.read_log(path)
        except FileNotFoundError:
            return {}
        if not isinstance(log, dict):
            raise UnreadableResultError(f'{path} is not a readable log (it does not hold a dict): delete it', path)
        unread = unread_types(log)
        if unread:
            logger.warning(
                'The task log of %s was read without its values of type %s: kartnb.load_result(%r) loads them.',
                type(self).__name__,
                ', '.join(unread),
                path,
            )
        return log

    def get_task_params(self) -> dict[str, str]:
        """The significant parameters as text, as they were logged when the task last ran; empty when it has not."""
        try:
            return places.read_params(self._log_path('task_params'))
        except FileNotFoundError:
            return {}

    def get_processing_time(self) -> float | str:
        """Seconds that the last run took, or 'unknown'."""
        try:
            return places.read_seconds(self._log_path('processing_time'))
        except FileNotFoundError:
            return 'unknown'

    def _log_path(self, kind: places.LogKind) -> str:
        own = results.own_log_target(self, kind)
        if own is not None:
            return own.path()
        return places.log_path(self.workspace_directory, kind, type(self).__name__, self.make_unique_id())

    def _displayed(self, only_significant: bool) -> list[tuple[str, luigi.Parameter[Any], Any]]:
        return [
            (name, parameter, self.param_kwargs[name])
            for name, parameter in type(self).parameter_table().parameters.items()
            if name in self.param_kwargs
            and not is_secret(parameter)
            and (parameter.significant or not only_significant)
        ]

    @staticmethod
    def try_set_seed(methods: list[str], random_seed: int) -> list[str]:
        """Call functions, given by their dotted names, with a seed; gives the names of those that exist."""
        return seed_with(methods, random_seed)

    # gokart's names for steps of load, dump, complete, the unique id, seeds, logs and configuration. Its users override
    # and call them, so kartnb goes through them too.

    def _get_input_targets(self, target: Any) -> Any:
        return results.input_targets(self, target)

    def _get_output_target(self, target: Any) -> TargetOnKart:
        return results.output_target(self, target)

    def _check_modification_time(self) -> bool:
        return results.newer_input(flatten(self.input()), flatten(self.output())) is None

    def _make_hash_id(self) -> str:
        return identity.hash_id(self, identity.id_parts(identity.required_tasks(self)))

    def _get_random_seed(self) -> int:
        return seed_of(self)

    def _get_task_log_target(self) -> TargetOnKart:
        return results.log_target(self, 'task_log')

    def _get_task_params_target(self) -> TargetOnKart:
        return results.log_target(self, 'task_params')

    def _get_random_seeds_target(self) -> TargetOnKart:
        return results.log_target(self, 'random_seed')

    def _get_processing_time_target(self) -> TargetOnKart:
        return results.log_target(self, 'processing_time')

    def _get_module_versions_target(self) -> TargetOnKart:
        return results.log_target(self, 'module_versions')

    @classmethod
    def _add_configuration(cls, kwargs: dict[str, Any], section: str) -> None:
        metaclass.add_configuration(cls, kwargs, section)

    _kart_add_configuration: ClassVar[Any] = _add_configuration.__func__  # type: ignore[attr-defined]

    @property
    def _rerun_state(self) -> bool:
        current: Any = held.today(self)
        return bool(vars(current).get('_rerun_pending', False))

    @_rerun_state.setter
    def _rerun_state(self, wanted: bool) -> None:
        # other than the parameter, this asks for one run, or for none; of the task that a build would run
        attributes = vars(held.today(self))
        attributes['_rerun_pending'] = attributes['_rerun_asked'] = bool(wanted)

    def __repr__(self) -> str:
        return f'{self}{registry.note_on_age(self)}'

    def __str__(self) -> str:
        shown = ', '.join(f'{name}={_shown(parameter, value)}' for name, parameter, value in self._displayed(True))
        return f'{self.get_task_family()}[{self.make_unique_id()}]({shown})'

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # in a list or a dict one line is enough
        printer.text(display.render(self, 'text') if len(printer.stack) == 1 else repr(self))

    def _repr_html_(self) -> str:
        return display.render(self, 'html')


registry.note_base_task(TaskOnKart)


def _shown(parameter: luigi.Parameter[Any], value: Any) -> str:
    if isinstance(parameter, TaskInstanceParameter):
        return f'{value.get_task_family()}({value.make_unique_id()})'
    if isinstance(parameter, ListTaskInstanceParameter):
        return '[' + ', '.join(f'{item.get_task_family()}({item.make_unique_id()})' for item in value) + ']'
    return str(parameter.serialize(value))


def take_start(task: TaskOnKart[Any]) -> bool:
    """Take START for noted; gives whether the instance was given a `run`, which it has again."""
    own = task.__dict__.pop(STARTED, None)
    if own is not None:
        task.__dict__['run'] = own
    return own is not None


def _run_here(task: TaskOnKart[Any]) -> Any:
    """What `task.run()` calls: in luigi's worker a whole run, with seed, logs and record; else no more than `run`."""
    is_luigis = STARTED in task.__dict__
    has_own = take_start(task)
    # the class's own answer, as in gokart, also where one was set on the instance
    if not has_own and task.complete_check_at_run and type(task).complete(task):
        logger.warning('%s is skipped: already complete.', task)
        return _nothing() if inspect.iscoroutinefunction(type(task).run) and not is_luigis else None
    return importlib.import_module(_RUNNER).run_for_luigi(task) if is_luigis else class_run(task)()


async def _nothing() -> None:
    """What a complete task with an ``async def run`` lets its caller await."""
