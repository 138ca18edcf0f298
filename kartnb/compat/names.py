"""Where each public name of gokart is in kartnb, and what to use for a name that is not here."""

from __future__ import annotations

from collections.abc import Iterable

_PROCESSORS = 'BinaryFileProcessor GzipFileProcessor NpzFileProcessor TextFileProcessor XmlFileProcessor'
_FORMATS: dict[str, str] = {
    'kartnb.storage.formats.base': 'FileProcessor make_file_processor',
    'kartnb.storage.formats.simple': f'{_PROCESSORS} PickleFileProcessor',
    'kartnb.storage.formats.tables': 'CsvFileProcessor FeatherFileProcessor JsonFileProcessor ParquetFileProcessor',
}
_LOCKS = 'RedisClient TaskLockParams make_task_lock_key make_task_lock_params make_task_lock_params_for_run'
_SLACK_ERRORS = 'ChannelListNotLoadedError ChannelNotFoundError FileNotUploadedError'
#: gokart's modules ('' is gokart itself), and where kartnb has their names: 'name', or 'name=its name there'.
_MODULES: dict[str, dict[str, str]] = {
    '': {
        'kartnb.cli.run': 'run',
        'kartnb.execution.build': 'build',
        'kartnb.execution.luigid': 'WorkerSchedulerFactory',
        'kartnb.history.clean': 'delete_local_unnecessary_outputs',
        'kartnb.planning.task_info': 'make_task_info_as_tree_str make_tree_info tree_info',
        'kartnb.task.base': 'TaskOnKart',
        'kartnb.task.config': 'add_config',
        'kartnb.task.parameters': (
            'ExplicitBoolParameter ListTaskInstanceParameter PandasTypeConfig SerializableParameter '
            'TaskInstanceParameter ZonedDateSecondParameter'
        ),
        'kartnb.testing': 'test_run',
    },
    'build': {
        'kartnb.config': 'LoggerConfig TaskDumpConfig TaskDumpMode TaskDumpOutputType',
        'kartnb.errors': 'TaskLockException',
        'kartnb.execution.build': 'build',
        'kartnb.execution.luigid': 'WorkerSchedulerFactory',
        'kartnb.execution.report': 'GokartBuildError HasLockedTaskException',
        'kartnb.planning.task_info': 'logger process_task_info',
        'kartnb.storage.targets': 'TargetOnKart',
        'kartnb.task.base': 'TaskOnKart',
        'kartnb.task.registry': '_reset_register=drop_superseded',
        'kartnb.task.results': '_get_output=result_of',
    },
    'config_params': {'kartnb.task.config': 'inherits_config_params'},
    'conflict_prevention_lock': {},
    'conflict_prevention_lock.task_lock': {
        'kartnb.errors': 'TaskLockException',
        'kartnb.storage.locks': _LOCKS,
        'redis': 'redis=',
    },
    'errors': {
        'kartnb.errors': 'EmptyDumpError PandasTypeError',
        'kartnb.execution.report': 'GokartBuildError HasLockedTaskException',
    },
    'file_processor': _FORMATS,
    'file_processor.base': {
        'io': '_ChunkedLargeFileReader=BufferedReader',  # gokart's is for a mistake of old Pythons on macOS
        'kartnb.storage.formats.base': 'FileProcessor',
        'kartnb.storage.formats.simple': f'{_PROCESSORS} PickleFileProcessor',
        'kartnb.storage.unpickling': 'load_dill_with_pandas_backward_compatibility=load',
    },
    'file_processor.pandas': {'kartnb.storage.formats.base': 'FileProcessor'},
    'file_processor.polars': {'kartnb.storage.formats.base': 'FileProcessor'},
    'gcs_config': {'kartnb.storage.remote': 'GCSConfig'},
    'in_memory': {'kartnb.storage.targets': 'InMemoryCacheRepository InMemoryTarget make_in_memory_target'},
    'in_memory.repository': {'kartnb.storage.targets': 'InMemoryCacheRepository'},
    'in_memory.target': {
        'kartnb.storage.locks': 'TaskLockParams',
        'kartnb.storage.targets': 'InMemoryCacheRepository InMemoryTarget TargetOnKart make_in_memory_target',
    },
    'info': {
        'kartnb.planning.task_info': 'make_task_info_as_tree_str make_tree_info tree_info',
        'kartnb.task.base': 'TaskOnKart',
    },
    'mypy': {'kartnb.mypy': 'plugin'},
    'object_storage': {'kartnb.compat.stores': 'ObjectStorage ZipClient'},
    'pandas_type_config': {
        'kartnb.errors': 'PandasTypeError',
        'kartnb.task.parameters': 'PandasTypeConfig',
    },
    'parameter': {
        'kartnb.task.parameters': (
            'ExplicitBoolParameter ListTaskInstanceParameter Serializable SerializableParameter TaskInstanceParameter '
            'ZonedDateSecondParameter'
        )
    },
    'run': {
        'kartnb.cli.run': 'run',
        'kartnb.execution.luigid': 'WorkerSchedulerFactory',
        'kartnb.notify.slack': '_try_to_send_event_summary_to_slack=send_event_summary',
    },
    's3_config': {'kartnb.storage.remote': 'S3Config'},
    'slack': {'kartnb.notify.slack': f'{_SLACK_ERRORS} EventAggregator SlackAPI SlackConfig'},
    'slack.event_aggregator': {'kartnb.notify.slack': 'EventAggregator'},
    'slack.slack_api': {'kartnb.notify.slack': f'{_SLACK_ERRORS} SlackAPI', 'slack_sdk': 'slack_sdk='},
    'slack.slack_config': {'kartnb.notify.slack': 'SlackConfig'},
    'target': {
        'kartnb.storage.formats.base': 'FileProcessor make_file_processor',
        'kartnb.storage.formats.models': 'LargeDataFrameProcessor ModelTarget make_model_target',
        'kartnb.storage.locks': 'TaskLockParams make_task_lock_params',
        'kartnb.compat.stores': 'ObjectStorage make_zip_client',
        'kartnb.storage.targets': 'SingleFileTarget TargetOnKart make_target',
    },
    'task': {
        'kartnb.errors': 'EmptyDumpError',
        'kartnb.storage.targets': 'TargetOnKart',
        'kartnb.task.base': 'TaskOnKart',
        'kartnb.task.parameters': 'ExplicitBoolParameter ListTaskInstanceParameter TaskInstanceParameter',
        'kartnb.task.values': 'flatten',
    },
    'testing': {'kartnb.testing': 'assert_frame_contents_equal test_run try_to_run_test_for_empty_data_frame'},
    'testing.check_if_run_with_empty_data_frame': {'kartnb.testing': 'test_run try_to_run_test_for_empty_data_frame'},
    'testing.pandas_assert': {'kartnb.testing': 'assert_frame_contents_equal'},
    'tree': {},
    'tree.task_info': {
        'kartnb.planning.task_info': (
            'dump_task_info_table dump_task_info_tree make_task_info_as_table make_task_info_as_tree_str '
            'make_task_info_tree make_tree_info_table_list make_tree_info=format_tree'
        ),
        'kartnb.storage.targets': 'make_target',
        'kartnb.task.base': 'TaskOnKart',
    },
    'tree.task_info_formatter': {
        'kartnb.planning.task_info': (
            'RequiredTask TaskInfo _make_requires_info=required_info make_task_info_tree make_tree_info_table_list '
            'make_tree_info=format_tree'
        ),
        'kartnb.task.base': 'TaskOnKart',
        'kartnb.task.values': 'flatten',
    },
    'utils': {
        'kartnb.storage.unpickling': 'load_dill_with_pandas_backward_compatibility=load',
        'kartnb.task.config': 'add_config',
        'kartnb.task.parameters': 'get_dataframe_type_from_task',
        'kartnb.task.values': 'FlattenableItems=Nested flatten map_flattenable_items=map_nested',
        'typing': 'FileLike=IO',
    },
    'worker': {'kartnb.execution.limits': 'gokart_worker', 'kartnb.execution.luigid': 'Worker'},
    'workspace_management': {
        'kartnb.history.clean': 'delete_local_unnecessary_outputs',
        'kartnb.task.values': 'flatten',
    },
    'zip_client': {'kartnb.compat.stores': 'LocalZipClient=ZipClient ZipClient'},
    'zip_client_util': {'kartnb.compat.stores': 'LocalZipClient=ZipClient ObjectStorage ZipClient make_zip_client'},
}
#: ``{module: {name: 'home:attribute'}}``: gokart's modules and names, and where kartnb has them.
HOMES: dict[str, dict[str, str]] = {
    module: {
        name: f'{home}:{attribute if renamed else name}'
        for home, names in by_home.items()
        for name, renamed, attribute in (text.partition('=') for text in names.split())
    }
    for module, by_home in _MODULES.items()
}

_LOCKING = 'kartnb holds its locks itself: set redis_host and redis_port of the tasks'
_STORES = 'kartnb reaches object stores through fsspec: a path such as s3://bucket/key is enough'
#: What to use for names that gokart has and kartnb does not, by 'module', 'module.name' or 'name'.
INSTEAD: dict[str, str] = {
    'CsvFileProcessorPandas': 'use CsvFileProcessor()',
    'CsvFileProcessorPolars': "use CsvFileProcessor(dataframe_type='polars')",
    'FeatherFileProcessorPandas': 'use FeatherFileProcessor(…)',
    'FeatherFileProcessorPolars': "use FeatherFileProcessor(…, dataframe_type='polars')",
    'GCSObjectMetadataClient': "the labels of an object are written with it: pass custom_labels to the task's dump",
    'GCSZipClient': 'use gokart.zip_client_util.make_zip_client',
    'JsonFileProcessorPandas': 'use JsonFileProcessor()',
    'JsonFileProcessorPolars': "use JsonFileProcessor(dataframe_type='polars')",
    'PandasTypeConfigMap': 'each dump checks the types itself; PandasTypeConfig.check(df) checks a frame',
    'ParquetFileProcessorPandas': 'use ParquetFileProcessor()',
    'ParquetFileProcessorPolars': "use ParquetFileProcessor(dataframe_type='polars')",
    'RequiredTaskOutput': 'kartnb writes what an object was made from into its metadata and its run record itself',
    'S3ZipClient': 'use gokart.zip_client_util.make_zip_client',
    'conflict_prevention_lock.task_lock_wrappers': _LOCKING,
    'gcs_obj_metadata_client': "labels are written with an object: pass custom_labels to the task's dump",
    'gcs_zip_client': _STORES,
    'in_memory.data': 'use kartnb.make_in_memory_target',
    'required_task_output': 'kartnb writes what an object was made from into its metadata and its run record itself',
    's3_zip_client': _STORES,
    'task_complete_check': 'complete_check_at_run=True, the default, skips the run of a complete task',
}


def missing_name(name: str, known: Iterable[str], module: str = '', package: str = 'kartnb') -> str:
    """The message for a name that a module does not have, with what to use, or the nearest of the known ones.

    `module` is one of gokart's, within `package`.

    Examples
    --------
    >>> missing_name('bild', ['build', 'plan'])
    "module 'kartnb' has no attribute 'bild': did you mean 'build'?"
    >>> missing_name('S3ZipClient', [], 's3_zip_client', 'gokart')
    "module 'gokart.s3_zip_client' has no attribute 'S3ZipClient', which gokart has: use
    gokart.zip_client_util.make_zip_client."
    """
    return f'module {f"{package}.{module}".rstrip(".")!r} has no attribute {name!r}{hint_for(name, known, module)}'


def hint_for(name: str, known: Iterable[str], module: str) -> str:
    """What follows in that message; nothing for a name that is not like any other."""
    instead = INSTEAD.get(f'{module}.{name}'.lstrip('.')) or (INSTEAD.get(name) if module else None)
    if instead:
        return f', which gokart has: {instead}.'
    import difflib

    near = [] if name.startswith('_') else difflib.get_close_matches(name, known, n=1)
    return f': did you mean {near[0]!r}?' if near else ''
