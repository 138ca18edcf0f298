"""Any Python value, pickled."""

from __future__ import annotations

from typing import IO, Any

from kartnb.storage import pickling
from kartnb.storage.formats.base import FileProcessor, ProcessorFactory, always


class PickleFileProcessor(FileProcessor):
    """Keeps any value that can be pickled, in files that `pickle.load` reads."""

    buffering = 0

    def small_bytes(self, obj: Any) -> bytes | None:
        """The whole pickle of a small value of plain types."""
        return pickling.dumps_plain(obj) if type(self) is PickleFileProcessor else None

    def load(self, file: IO[bytes]) -> Any:
        """Read a value."""
        return pickling.load(file)

    def dump(self, obj: Any, file: IO[bytes]) -> None:
        """Write a value."""
        pickling.dump(obj, file)


FORMATS: dict[str, ProcessorFactory] = {'.pkl': always(PickleFileProcessor())}
