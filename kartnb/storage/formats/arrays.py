"""NumPy arrays in npz files."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from kartnb.errors import WrongValueError
from kartnb.storage.formats.base import FileProcessor, ProcessorFactory, always

if TYPE_CHECKING:
    import numpy as np

_MEMBER = 'data'


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

        with np.load(file) as members:
            array: np.ndarray[Any, Any] = members[_MEMBER]
        return array

    def dump(self, obj: Any, file: IO[bytes]) -> None:
        """Write the array, a few megabytes at a time."""
        import numpy as np

        self.check(obj)
        np.savez(file, allow_pickle=False, **{_MEMBER: obj})


FORMATS: dict[str, ProcessorFactory] = {'.npz': always(NpzFileProcessor())}
