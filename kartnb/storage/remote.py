"""Files on object stores and other computers, through fsspec, with the credentials that gokart and luigi would use."""

from __future__ import annotations

import configparser
import contextlib
import errno
import functools
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import IO, Any

import luigi

from kartnb.errors import KartError, MissingPackageError, StorageError, TaskSettingError, text_of
from kartnb.interrupts import held_interrupts
from kartnb.storage.files import FULL, FileSystem, Seen, raise_storage_error, seen_object, temporary_name

_PACKAGES = {
    's3': "'kartnb[s3]'",
    's3a': "'kartnb[s3]'",
    'gs': "'kartnb[gcs]'",
    'gcs': "'kartnb[gcs]'",
    'az': 'adlfs',
    'abfs': 'adlfs',
    'abfss': 'adlfs',
}
# An upload to these shows the whole object or nothing, and renaming is a copy.
_OBJECT_STORES = frozenset(_PACKAGES)

# What each store's library calls its errors, in the names of their classes and in their texts.
_NO_BUCKET = re.compile(r'NoSuchBucket|ContainerNotFound|(bucket|container) (does not exist|not found)', re.IGNORECASE)
_REGION = re.compile(r'\bregion|PermanentRedirect|IllegalLocationConstraint', re.IGNORECASE)
_CREDENTIALS = re.compile(
    r'PermissionError|credentials|access ?denied|forbidden|unauthori[sz]ed|authenticat|signature|access key|\b40[13]\b',
    re.IGNORECASE,
)
_CONNECTION = re.compile(
    r'timeout|timed out|connect|endpoint|unreachable|name resolution|\bSSL|\b50[0234]\b', re.IGNORECASE
)

#: Of a file no more is read than this many bytes before its size is known: most results are smaller.
_AT_ONCE = 1 << 20
#: An assumed role is assumed again so long before it expires.
_BEFORE_EXPIRY = timedelta(minutes=5)

# of gcsfs' setxattrs; a label cannot have these names
_ARGUMENTS = frozenset({'content_type', 'content_encoding', 'fixed_key_metadata'})


class S3Config(luigi.Config):
    """Which environment variables hold the keys for ``s3://``: gokart's section ``[S3Config]``.

    Where they are not set, luigi's section ``[s3]`` is asked, and then boto's own settings.
    """

    # as for `TaskOnKart`: gokart, where it is imported too, lists a class of this name
    _visible_in_registry = False

    aws_access_key_id_name = luigi.Parameter(
        default='AWS_ACCESS_KEY_ID', description='The environment variable that holds the access key id for s3://.'
    )
    aws_secret_access_key_name = luigi.Parameter(
        default='AWS_SECRET_ACCESS_KEY', description='The environment variable that holds the secret key for s3://.'
    )
    _client: Any = None

    def get_s3_client(self) -> Any:
        """Return luigi's client, for code that was written for it; kartnb itself uses fsspec.

        Raises MissingPackageError, which is also an ImportError, when boto3 is not installed.
        """
        if self._client is None:
            self._client = self._get_s3_client()
        return self._client

    def _get_s3_client(self) -> Any:
        _require('boto3', 'luigi.contrib.s3')
        import luigi.contrib.s3

        names = self.aws_access_key_id_name, self.aws_secret_access_key_name
        key, secret = (os.environ.get(name) for name in names)
        return luigi.contrib.s3.S3Client(aws_access_key_id=key, aws_secret_access_key=secret)


class GCSConfig(luigi.Config):
    """Which environment variable holds the service account for ``gs://``: gokart's section ``[GCSConfig]``.

    It holds the account as JSON, or the path of such a file. Where it is not set, Google's default credentials count.
    """

    # as for `TaskOnKart`: gokart, where it is imported too, lists a class of this name
    _visible_in_registry = False

    gcs_credential_name = luigi.Parameter(
        default='GCS_CREDENTIAL',
        description='The environment variable that holds a service account for gs://, as JSON or the path of a file.',
    )
    _client: Any = None

    def get_gcs_client(self) -> Any:
        """Return luigi's client, for code that was written for it; kartnb itself uses fsspec.

        Raises MissingPackageError, which is also an ImportError, when google-api-python-client is not installed.
        """
        if self._client is None:
            self._client = self._get_gcs_client()
        return self._client

    def _get_gcs_client(self) -> Any:
        _require('googleapiclient', 'luigi.contrib.gcs', 'google-api-python-client')
        import luigi.contrib.gcs

        return luigi.contrib.gcs.GCSClient(oauth_credentials=_service_account(self.gcs_credential_name))


def _require(module: str, wanted_by: str, package: str = '') -> None:
    try:
        __import__(module)
    except ImportError as error:
        raise MissingPackageError(f'{wanted_by} needs {module}: pip install {package or module}') from error


def _names_of_keys() -> tuple[str, str]:
    config = S3Config()
    return config.aws_access_key_id_name, config.aws_secret_access_key_name


def _s3_options() -> dict[str, Any]:
    """The options of s3fs that luigi's configuration asks for: empty where boto's own settings are enough."""
    names = _names_of_keys()
    section = _s3_section()
    given = tuple(section.pop(name, None) for name in ('aws_access_key_id', 'aws_secret_access_key'))
    role, session = (section.pop(name, None) for name in ('aws_role_arn', 'aws_role_session_name'))
    token = section.pop('aws_session_token', None)
    key, secret = (os.environ.get(name) or other for name, other in zip(names, given, strict=True))
    if role and session:
        key, secret, token = _assumed_role(role, session, section.get('region_name'))
    elif names == ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY') and not token and not any(given):
        key = secret = None  # boto reads them itself, and knows of AWS_SESSION_TOKEN too
    found = {'key': key, 'secret': secret, 'token': token, 'endpoint_url': section.pop('endpoint_url', None)}
    options = {name: str(value) for name, value in found.items() if value}
    return {**options, **_client_options(section)}


def _s3_section() -> dict[str, Any]:
    """The section ``[s3]`` of luigi's configuration, without what other sections have too."""
    config = luigi.configuration.get_config()
    if isinstance(config, luigi.configuration.LuigiTomlParser):
        return dict(config.data.get('s3', {}))
    if not config.has_section('s3'):
        return {}
    defaults = config.defaults()
    return {name: value for name, value in config.items('s3') if defaults.get(name) != value}


def _client_options(section: Mapping[str, Any]) -> dict[str, Any]:
    """What else of ``[s3]`` concerns the client; raises TaskSettingError for what no client knows."""
    unknown = section.keys() - {'region_name', 'api_version', 'use_ssl', 'verify'}
    if unknown:
        raise TaskSettingError(
            f'[s3] {min(unknown)} in the configuration is unknown: use aws_access_key_id, aws_secret_access_key, '
            'aws_session_token, aws_role_arn, aws_role_session_name, endpoint_url, region_name, api_version, use_ssl '
            'or verify'
        )
    if not section:
        return {}
    import fsspec

    switch = configparser.ConfigParser.BOOLEAN_STATES
    ours = {name: switch.get(str(value).lower(), value) for name, value in section.items()}
    ours |= {name: str(section[name]) for name in ('region_name', 'api_version') if name in section}
    return {'client_kwargs': {**fsspec.config.conf.get('s3', {}).get('client_kwargs', {}), **ours}}


_roles: dict[tuple[str, str], tuple[datetime, tuple[str, str, str]]] = {}


def _assumed_role(arn: str, session: str, region: str | None) -> tuple[str, str, str]:
    """The keys and the token of a role, as luigi's client assumes it; asked for again shortly before they expire."""
    expiry, keys = _roles.get((arn, session), (None, None))
    if expiry is not None and keys is not None and datetime.now(UTC) < expiry - _BEFORE_EXPIRY:
        return keys
    from botocore.session import Session

    answer = Session().create_client('sts', region_name=region).assume_role(RoleArn=arn, RoleSessionName=session)
    found = answer['Credentials']
    keys = found['AccessKeyId'], found['SecretAccessKey'], found['SessionToken']
    _roles[arn, session] = found['Expiration'], keys
    return keys


def _gs_options() -> dict[str, Any]:
    """The options of gcsfs that luigi's configuration and the environment ask for."""
    account = _account_text(GCSConfig().gcs_credential_name)
    return {'token': _account_info(*account)} if account else {}


def _account_text(name: str) -> tuple[str, str] | None:
    """The environment variable of the service account, and its text, where there is one."""
    text = os.environ.get(name)
    if not text:
        return None
    if os.path.isfile(text):
        try:
            with open(text, encoding='utf-8') as file:
                return name, file.read()
        except OSError as error:
            raise TaskSettingError(
                f'{text}, which the environment variable {name} names, cannot be read: {error.strerror}'
            ) from error
    return name, text


@functools.lru_cache(maxsize=8)
def _account_info(name: str, text: str) -> dict[str, Any]:
    """A service account; the errors show nothing of it."""
    from google.oauth2 import service_account

    with contextlib.suppress(ValueError, TypeError, AttributeError):
        info: dict[str, Any] = json.loads(text)
        service_account.Credentials.from_service_account_info(info)  # type: ignore[no-untyped-call]
        return info
    raise TaskSettingError(
        f'The environment variable {name} must hold the JSON text of a service account of Google Cloud, or the path of '
        'a file with it: download the key again, or unset the variable to use the default credentials'
    )


def _service_account(name: str) -> Any:
    from google.oauth2 import service_account

    account = _account_text(name)
    if account is None:
        return None
    return service_account.Credentials.from_service_account_info(_account_info(*account))  # type: ignore[no-untyped-call]


_OPTIONS = {'s3': _s3_options, 's3a': _s3_options, 'gs': _gs_options, 'gcs': _gs_options}


def remote_file_system(path: str) -> FileSystem:
    """Return the file system for a path with a scheme, such as ``s3://bucket/results``."""
    return _Fsspec(_backend(path)[0], path.partition('://')[0])


def _backend(path: str) -> tuple[Any, str]:
    """The file system of fsspec for a path, and the path as it knows it."""
    scheme = path.partition('://')[0]
    packages = _PACKAGES.get(scheme, 'fsspec')
    try:
        import fsspec
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingPackageError(f'{path} needs fsspec: pip install {packages}') from error
    try:
        with _named(path, 'reached'):
            options = _OPTIONS[scheme]() if scheme in _OPTIONS else {}
            # what other processes write must be seen
            backend, base = url_to_fs(path, use_listings_cache=False, **options)
    except MissingPackageError:
        raise
    except ImportError as error:
        raise MissingPackageError(
            f'{path} needs a package for {scheme}:// ({error}): pip install {packages}'
        ) from error
    except ValueError as error:
        if scheme not in fsspec.available_protocols():
            raise StorageError(f'{path} has a scheme that fsspec does not know: {scheme}://', path) from error
        raise
    return backend, str(base)


class _Fsspec(FileSystem):
    """A file system of fsspec."""

    def __init__(self, backend: Any, scheme: str) -> None:
        self._backend = backend
        self._uploads_whole = scheme in _OBJECT_STORES
        # the ETag of a large object depends on its parts: a copy that is brought back is known by it
        self._copying = {'preserve_etag': True} if scheme in ('s3', 's3a') else {}

    def exists(self, path: str) -> bool:
        ask = getattr(self._backend, 'call_s3', None)
        with _named(path, 'read'):
            if ask is None or path.endswith('/') or path.count('/') < 3:
                return bool(self._backend.exists(path))
            # s3fs would list what is below an object that is not there
            bucket, key, _ = self._backend.split_path(path)
            try:
                ask('head_object', Bucket=bucket, Key=key)
            except FileNotFoundError:
                return False
            return True

    def open_read(self, path: str, buffering: int = -1) -> IO[bytes]:
        if self._uploads_whole:  # a small object in one request, where opening it takes two
            beginning = self._beginning(path, _AT_ONCE)
            return io.BytesIO(beginning) if len(beginning) < _AT_ONCE else self._fetched(path)
        with _named(path, 'read'):
            file: IO[bytes] = self._backend.open(path, 'rb')
            return file

    def _fetched(self, path: str) -> IO[bytes]:
        """A copy on this disk, made in one go: whoever jumps to and fro in a file of the store asks for each part."""
        copy = os.path.join(tempfile.gettempdir(), temporary_name(os.path.basename(path)))
        try:
            with _named(path, 'read'):
                try:
                    self._backend.get_file(path, copy)
                except OSError as error:
                    if error.errno in FULL:
                        raise_storage_error(error, copy, 'written')
                    raise
            return io.BufferedReader(_Copy(copy))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(copy)
            raise

    @contextlib.contextmanager
    def writing(self, path: str, buffering: int = -1, scratch: str | None = None) -> Iterator[IO[bytes]]:
        # on this disk first, so that a dump that fails halfway uploads nothing
        spool_name = temporary_name(os.path.basename(path))
        spool = os.path.join(tempfile.gettempdir(), spool_name)
        try:
            with open(spool, 'xb', buffering) as file:
                yield file
            with _changing(path, 'written'):
                self._upload(spool, path, scratch)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(spool)

    def _upload(self, spool: str, path: str, scratch: str | None) -> None:
        directory, _, name = path.rpartition('/')
        if self._uploads_whole:
            self._backend.put_file(spool, path)
            return
        self._backend.makedirs(directory, exist_ok=True)
        beside = f'{directory if scratch is None else scratch}/{temporary_name(name)}'
        try:
            self._backend.put_file(spool, beside)
            self._backend.mv(beside, path)
        except BaseException:
            with contextlib.suppress(Exception):
                self._backend.rm_file(beside)
            raise

    def duplicate(self, path: str, target: str, *, keep_time: bool = False, apart: bool = False) -> None:
        if not self._uploads_whole:
            self._backend.makedirs(target.rpartition('/')[0], exist_ok=True)
        with _changing(target, 'written'):
            try:
                self._backend.cp_file(path, target, **self._copying)
            except FileNotFoundError as error:
                raise_storage_error(error, path, 'read')

    def remove(self, path: str) -> None:
        with _changing(path, 'removed'):
            self._backend.rm_file(path)

    def modified(self, path: str) -> datetime:
        with _named(path, 'read'):
            moment: datetime = self._backend.modified(path)
        return moment.astimezone().replace(tzinfo=None) if moment.tzinfo else moment

    def size(self, path: str) -> int:
        with _named(path, 'read'):
            return int(self._backend.size(path))

    def stamp(self, path: str) -> tuple[int, float]:
        return self.seen(path)[:2]

    def mark(self, path: str) -> str:
        try:
            return self.seen(path).mark
        except OSError:
            return ''

    def seen(self, path: str, in_part: bool = False) -> Seen:
        with _named(path, 'read'):
            return _seen(self._backend.info(path))

    def names(self, directory: str) -> set[str]:
        return {_last_part(entry) for entry in self._listed(directory, detail=False)}

    def marks(self, directory: str) -> dict[str, str]:
        entries = self._listed(directory, detail=True)
        return {_last_part(entry['name']): _seen(entry).mark for entry in entries}

    def _listed(self, directory: str, detail: bool) -> list[Any]:
        with _named(directory, 'listed'):
            try:
                return list(self._backend.ls(directory, detail=detail, refresh=True))
            except FileNotFoundError:
                return []
            except TypeError:  # a backend without a listing cache takes no `refresh`
                return list(self._backend.ls(directory, detail=detail))

    def label(self, path: str, labels: Mapping[str, str]) -> None:
        if labels and hasattr(self._backend, 'setxattrs'):
            with _changing(path, 'written'):
                self._backend.setxattrs(
                    path, **{name: value for name, value in labels.items() if name not in _ARGUMENTS}
                )

    def write_bytes(self, path: str, data: bytes, scratch: str | None = None) -> None:
        if not self._uploads_whole:
            super().write_bytes(path, data, scratch)
            return
        with _changing(path, 'written'):
            self._backend.pipe_file(path, data)

    def read_bytes(self, path: str) -> bytes:
        with _named(path, 'read'):
            return bytes(self._backend.cat_file(path))

    def _beginning(self, path: str, size: int) -> bytes:
        with _named(path, 'read'):
            try:
                return bytes(self._backend.cat_file(path, start=0, end=size))
            except Exception as error:
                if not _is_of_an_empty_object(error):
                    raise
                return bytes(self._backend.cat_file(path))


@contextlib.contextmanager
def _changing(path: str, doing: Any) -> Iterator[None]:
    """As `_named`, for what changes a store.

    An interrupt waits until the answer is there: a request goes on in another thread, and would change the store after
    the run that it belongs to has been undone.
    """
    with held_interrupts(), _named(path, doing):
        yield


class _Copy(io.FileIO):
    """A file that is removed when it is closed."""

    def close(self) -> None:
        is_open = not self.closed
        super().close()
        if is_open:
            with contextlib.suppress(OSError):
                os.unlink(str(self.name))


def _is_of_an_empty_object(error: Exception) -> bool:
    """Whether an error says that there is no such part of an object: an empty one has none."""
    return getattr(error, 'errno', None) == errno.EINVAL or getattr(error, 'code', None) in (416, '416')


@contextlib.contextmanager
def _named(path: str, doing: Any) -> Iterator[None]:
    """Raise what goes wrong in the block as a `StorageError`, whatever library of the store raised it."""
    try:
        yield
    except KartError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__ == 'builtins':
            raise  # a wrong call, not the store
        sentence = '' if _is_of_a_disk(error) else _sentence(error, path, doing)
        if sentence:
            raise StorageError(sentence, path, getattr(error, 'errno', None)) from error
        raise_storage_error(error if isinstance(error, OSError) else OSError(_detail(error)), path, doing)


def _sentence(error: BaseException, path: str, doing: str) -> str:
    """What a store's error means and what to do, where it is one of the store and not of the file; else ''."""
    chain: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in chain:
        chain.append(found)
        found = found.__cause__ or found.__context__
    words = ' '.join(f'{" ".join(cls.__name__ for cls in type(e).__mro__)} {text_of(e)}' for e in chain)
    scheme, _, rest = path.partition('://')
    words = words.replace(rest, '')  # which may hold any word
    bucket = f'{scheme}://{rest.partition("/")[0]}'
    # a store has no directories that could be missing, and Google's says no more than that it has not found something
    is_without_bucket = doing == 'written' and scheme in _OBJECT_STORES and isinstance(error, FileNotFoundError)
    if is_without_bucket or _NO_BUCKET.search(words):
        return f'{path} cannot be {doing}, {bucket} does not exist: create it, or correct workspace_directory'
    if isinstance(error, FileNotFoundError):
        return ''
    because = f'{path} cannot be {doing} ({_detail(error)})'
    if _REGION.search(words):
        return f'{because}: set the region of {bucket} in the configuration of its client'
    if _CREDENTIALS.search(words):
        return f'{because}: check the credentials, and that they may read and write {bucket}'
    if _CONNECTION.search(words):
        return f'{because}: check the connection and the endpoint, and build again; finished results are kept'
    return ''


def _is_of_a_disk(error: Exception) -> bool:
    """Whether an error is one that `storage_error` knows, such as a full disk's."""
    if not isinstance(error, OSError) or isinstance(error, ConnectionError | TimeoutError):
        return False
    return type(error).__module__ == 'builtins' and error.errno is not None


def _detail(error: BaseException) -> str:
    """The text of a store's error as one line, without the queries of URLs, which may be signed."""
    text = re.sub(r'\?[^\s"\']+', '', ' '.join(text_of(error).split()))
    return text[:200] or type(error).__name__


def _last_part(entry: object) -> str:
    return str(entry).rstrip('/').rpartition('/')[2]


def _seen(info: Mapping[str, Any]) -> Seen:
    etag = info.get('ETag') or info.get('etag') or ''
    return seen_object(int(info.get('size') or 0), _changed(info), str(etag).strip('"'))


def files_below(root: str) -> list[tuple[str, int, float]]:
    """All files below a prefix, each with its path below it, its bytes and its last change in epoch seconds."""
    backend, base = _backend(root)
    with _named(root, 'listed'):
        found = backend.find(base, detail=True)
    start = base.rstrip('/') + '/'
    return [(str(path).removeprefix(start), int(info.get('size') or 0), _changed(info)) for path, info in found.items()]


def read_many(root: str, paths: list[str]) -> list[bytes | str]:
    """The bytes of files below a prefix, or a sentence in the place of those that cannot be read."""
    backend, base = _backend(root)
    names = [f'{base.rstrip("/")}/{path}' for path in paths]
    with _named(root, 'read'):
        # not by `cat`, which first asks of each whether it is there
        values = backend.cat_ranges(names, 0, None, on_error='return') if names else []
    return [_bytes_or_sentence(value, root) for value in values]


def _bytes_or_sentence(value: Any, root: str) -> bytes | str:
    if not isinstance(value, Exception):
        return bytes(value)
    return b'' if _is_of_an_empty_object(value) else _sentence(value, root, 'read') or text_of(value)


def _changed(info: Mapping[str, Any]) -> float:
    """When a file was changed: each file system has its own name for it."""
    for name in ('LastModified', 'mtime', 'last_modified', 'updated', 'created'):
        moment = info.get(name)
        if isinstance(moment, datetime):
            return moment.timestamp()
        if isinstance(moment, int | float):
            return float(moment)
        if isinstance(moment, str):
            with contextlib.suppress(ValueError):
                return datetime.fromisoformat(moment).timestamp()
    return 0.0
