"""NumPy arrays in npz files."""

from __future__ import annotations

import zipfile
from typing import IO, TYPE_CHECKING, Any

from kartnb.errors import WrongValueError
from kartnb.storage.formats.base import FileProcessor, ProcessorFactory, always

if TYPE_CHECKING:
    import numpy as np

_MEMBER = 'data'
_PIECE = 1 << 20
_LONGEST_HEADER = 1 << 24


class NpzFileProcessor(FileProcessor):
    """Keeps one array, under the name ``data``, uncompressed: about as fast as the disk. gokart reads it.

    Examples
    --------
    >>> import io
    >>> import numpy as np
    >>> file = io.BytesIO()
    >>> NpzFileProcessor().dump(np.arange(3), file)
    >>> _ = file.seek(0)
    >>> NpzFileProcessor().load(file)
    array([0, 1, 2])
    """

    def check(self, obj: Any) -> None:
        """Take arrays whose values are bytes: no Python objects, no masks."""
        import numpy as np

        if not isinstance(obj, np.ndarray):
            raise WrongValueError(f'an npz file takes a numpy array, not {type(obj).__name__}')
        if obj.dtype.hasobject:
            raise WrongValueError('an npz file does not keep arrays of Python objects: use a .pkl file')
        if isinstance(obj, np.ma.MaskedArray):
            raise WrongValueError('an npz file does not keep the mask of a masked array: use a .pkl file')

    def load(self, file: IO[bytes]) -> np.ndarray[Any, Any]:
        """Read the array; a damaged file is noticed by its checksum."""
        import numpy as np

        with np.load(file, max_header_size=_LONGEST_HEADER) as members:
            array: np.ndarray[Any, Any] = members[_MEMBER]
        return array

    def dump(self, obj: Any, file: IO[bytes]) -> None:
        """Write the array, a piece at a time, so that a piece is in the processor's cache for its checksum."""
        self.check(obj)
        with zipfile.ZipFile(file, 'w') as archive, archive.open(f'{_MEMBER}.npy', 'w', force_zip64=True) as member:
            _write_array(obj, member)


def _write_array(array: np.ndarray[Any, Any], file: IO[bytes]) -> None:
    import numpy as np

    scattered = not (array.flags.c_contiguous or array.flags.f_contiguous)
    if scattered or array.dtype.names is not None:  # names may need a header of another version
        np.lib.format.write_array(file, array, allow_pickle=False)
        return
    layout = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(file, layout)
    in_order = array.T if layout['fortran_order'] else array
    values = memoryview(in_order.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    for start in range(0, len(values), _PIECE):
        file.write(values[start : start + _PIECE])


FORMATS: dict[str, ProcessorFactory] = {'.npz': always(NpzFileProcessor())}
