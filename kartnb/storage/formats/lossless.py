"""Tables in any format without loss: what is loaded is what was dumped, or the dump says why it cannot be.

Text files get their types in front: the first line of a csv file is ``# kartnb-table: {...}``, a json file is an object
with ``"kartnb-table"``. Parquet and feather files keep the index as pandas does. Each file is read back and compared
before it takes its place.
"""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, Any

from kartnb.errors import UnknownFormatError, UnreadableResultError, WrongValueError
from kartnb.storage.filesystem import local_path
from kartnb.storage.formats import typed_text
from kartnb.storage.formats.base import FileProcessor, make_file_processor, refusing

if TYPE_CHECKING:
    import pandas as pd

_EXTENSIONS = ('.csv', '.tsv', '.json', '.ndjson', '.parquet', '.feather')


def lossless(extension: str) -> FileProcessor:
    """Give a processor that keeps pandas frames without loss, for ``make_target(..., processor=...)``.

    Parameters
    ----------
    extension
        '.csv', '.tsv', '.json', '.ndjson', '.parquet' or '.feather'.

    Examples
    --------
    >>> import pandas as pd
    >>> from kartnb.storage.targets import make_target
    >>> target = make_target('codes.csv', processor=lossless('.csv'))
    >>> target.dump(pd.DataFrame({'code': ['001', '002']}, index=['a', 'b']))
    >>> target.load()
      code
    a  001
    b  002
    """
    if extension not in _EXTENSIONS:
        raise UnknownFormatError(f'{extension!r} has no lossless form; those of {", ".join(_EXTENSIONS)} have')
    return LosslessFileProcessor(extension)


class LosslessFileProcessor(FileProcessor):
    """Keeps frames without loss; made by `lossless`."""

    def __init__(self, extension: str) -> None:
        self._extension = extension

    def __repr__(self) -> str:
        return f'lossless({self._extension!r})'

    def check(self, obj: Any) -> None:
        """Take frames."""
        import pandas as pd

        if not isinstance(obj, pd.DataFrame):
            raise WrongValueError(
                f'a lossless {self._extension} file takes a pandas DataFrame, not {type(obj).__name__}'
            )

    def load(self, file: IO[Any]) -> pd.DataFrame:
        """Read a frame that was written without loss."""
        if self._extension not in ('.parquet', '.feather'):
            return self._read_typed(file)
        frame: pd.DataFrame = make_file_processor(f'table{self._extension}', store_index_in_feather=False).load(file)
        return frame

    def dump(self, obj: Any, file: IO[Any]) -> None:
        """Write a frame, and make sure that it can be read as it was."""
        self.check(obj)
        start = file.tell()
        with refusing(f'a {self._extension} file'):
            self._write(obj, file)
        file.flush()
        _make_sure(self._read_back(file, start), obj, self._extension)

    def _write(self, frame: pd.DataFrame, file: IO[Any]) -> None:
        if self._extension == '.parquet':
            frame.to_parquet(local_path(file) or file, index=None, compression='zstd')
        elif self._extension == '.feather':
            make_file_processor('table.feather', store_index_in_feather=False).dump(frame, file)
        else:
            file.write(typed_text.write(frame, self._extension).encode('utf-8'))

    def _read_typed(self, file: IO[Any]) -> pd.DataFrame:
        data = file.read()
        text = data if isinstance(data, str) else data.decode('utf-8')
        if not typed_text.is_typed(text):
            raise UnreadableResultError('it has no types in front, so it was not written without loss')
        return typed_text.read(text, self._extension)

    def _read_back(self, file: IO[Any], start: int) -> pd.DataFrame:
        path = local_path(file)
        if path is not None:
            with open(path, 'rb') as again:
                return self.load(again)
        file.seek(start)
        return self.load(io.BytesIO(file.read()))


def _make_sure(read: pd.DataFrame, given: pd.DataFrame, extension: str) -> None:
    import pandas as pd

    try:
        # the frequency of a DatetimeIndex follows from its values; column files do not keep it
        pd.testing.assert_frame_equal(read, given, check_exact=True, check_column_type=True, check_freq=False)
    except AssertionError as error:
        detail = ' '.join(str(error).split())
        raise WrongValueError(
            f'a {extension} file cannot keep this frame without loss: use a .pkl file ({detail})'
        ) from error
