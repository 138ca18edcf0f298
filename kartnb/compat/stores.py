"""gokart's helpers for object stores and zip files, for code that calls them; targets need none of them."""

from __future__ import annotations

import os
import zipfile
from datetime import UTC, datetime
from typing import Any

from kartnb.errors import MissingResultError, StorageError
from kartnb.storage.filesystem import file_system
from kartnb.storage.formats.models import pack
from kartnb.storage.remote import GCSConfig, S3Config

_PREFIXES = ('s3://', 'gs://')


class ZipClient:
    """A zip file at a path or in an object store, and the local directory that is packed into it or out of it.

    >>> import os
    >>> from pathlib import Path
    >>> os.makedirs('parts')
    >>> _ = Path('parts/a.txt').write_text('words')
    >>> client = make_zip_client('archive.zip', 'parts')
    >>> client.make_archive()
    >>> client.exists(), client.path
    (True, 'archive.zip')
    """

    def __init__(self, file_path: str, temporary_directory: str) -> None:
        self._place = file_path
        self._directory = temporary_directory

    def exists(self) -> bool:
        """Whether the zip file is there."""
        return file_system(self._place).exists(self._place)

    def make_archive(self) -> None:
        """Pack all that is in the directory; the zip file takes its place when it is whole.

        Raises StorageError when the directory does not exist.
        """
        if not os.path.isdir(self._directory):
            raise StorageError(f'{self._directory} cannot be packed: the directory does not exist', self._directory)
        with file_system(self._place).writing(self._place) as file:
            pack(self._directory, file)

    def unpack_archive(self) -> None:
        """Unpack into the directory. Raises MissingResultError when there is no zip file."""
        os.makedirs(self._directory, exist_ok=True)
        with file_system(self._place).open_read(self._place) as file, zipfile.ZipFile(file) as archive:
            archive.extractall(self._directory)

    def remove(self) -> None:
        """Remove the zip file, if it is there."""
        try:
            file_system(self._place).remove(self._place)
        except MissingResultError:
            pass

    @property
    def path(self) -> str:
        """The place of the zip file, as it was given."""
        return self._place


def make_zip_client(file_path: str, temporary_directory: str) -> ZipClient:
    """Return what packs a local directory into a zip file, which may be in an object store, and unpacks it there."""
    return ZipClient(file_path, temporary_directory)


class ObjectStorage:
    """What gokart asks of paths in S3 and Google Cloud Storage.

    >>> ObjectStorage.if_object_storage_path('s3://bucket/a.pkl'), ObjectStorage.if_object_storage_path('a.pkl')
    (True, False)
    """

    @staticmethod
    def if_object_storage_path(path: str) -> bool:
        """Whether a path begins with ``s3://`` or ``gs://``."""
        return path.startswith(_PREFIXES)

    @staticmethod
    def get_object_storage_target(path: str, format: Any) -> Any:
        """Return luigi's own target for a path.

        Raises ValueError for another path, and MissingPackageError when the package that luigi uses is not installed.
        """
        if path.startswith('s3://'):
            client = S3Config().get_s3_client()
            import luigi.contrib.s3

            return luigi.contrib.s3.S3Target(path, client=client, format=format)
        _require_store(path)
        client = GCSConfig().get_gcs_client()
        import luigi.contrib.gcs

        return luigi.contrib.gcs.GCSTarget(path, client=client, format=format)

    @staticmethod
    def exists(path: str) -> bool:
        """Whether an object exists. Raises ValueError for another path."""
        _require_store(path)
        return file_system(path).exists(path)

    @staticmethod
    def get_timestamp(path: str) -> datetime:
        """When an object was written, in UTC. Raises MissingResultError when it does not exist."""
        _require_store(path)
        return datetime.fromtimestamp(file_system(path).stamp(path)[1], UTC)

    @staticmethod
    def get_zip_client(file_path: str, temporary_directory: str) -> ZipClient:
        """Return the client of a zip file in an object store. Raises ValueError for another path."""
        _require_store(file_path)
        return ZipClient(file_path, temporary_directory)

    @staticmethod
    def is_buffered_reader(file: Any) -> bool:
        """Whether an open file can go back, which luigi's reader of S3 cannot."""
        return bool(getattr(file, 'seekable', bool)())


def _require_store(path: str) -> None:
    if not path.startswith(_PREFIXES):
        raise ValueError(f'{path!r} is not in an object store: its path must begin with s3:// or gs://')
