"""Large frames, kept in pieces."""

from __future__ import annotations

import itertools
import os
import re
from typing import TYPE_CHECKING, Any

from kartnb.errors import UnreadableResultError, WrongValueError
from kartnb.storage import pickling

if TYPE_CHECKING:
    import pandas as pd

_PIECE = re.compile(r'data_(\d+)\.pkl')


class LargeDataFrameProcessor:
    """Saves a frame as pickles of at most about `max_byte` bytes each, and loads it with its rows in their order.

    Parameters
    ----------
    max_byte
        The most bytes of values in a piece.
    """

    def __init__(self, max_byte: int) -> None:
        self.max_byte = int(max_byte)

    def save(self, df: pd.DataFrame, file_path: str) -> None:
        """Save the pieces in the directory of a path.

        Parameters
        ----------
        df
            The frame.
        file_path
            Only its directory counts, as gokart has it.
        """
        import pandas as pd

        if not isinstance(df, pd.DataFrame):
            raise WrongValueError(f'a zip file of a large frame takes a pandas DataFrame, not {type(df).__name__}')
        directory = os.path.dirname(file_path)
        if directory:
            os.makedirs(directory, exist_ok=True)
        for i, (start, end) in enumerate(_row_ranges(df, self.max_byte)):
            with open(os.path.join(directory, f'data_{i}.pkl'), 'wb', 0) as file:
                pickling.dump(df.iloc[start:end], file)

    @staticmethod
    def load(file_path: str) -> pd.DataFrame:
        """Load the frame from the pieces in the directory of a path."""
        import pandas as pd

        directory = os.path.dirname(file_path) or '.'
        numbered = {int(match[1]): match[0] for match in map(_PIECE.fullmatch, os.listdir(directory)) if match}
        if not numbered or max(numbered) != len(numbered) - 1:
            raise UnreadableResultError('pieces of the large frame are missing')
        pieces = [_load_piece(os.path.join(directory, numbered[i])) for i in sorted(numbered)]
        frame: pd.DataFrame = pieces[0] if len(pieces) == 1 else pd.concat(pieces)
        return frame


def _load_piece(path: str) -> Any:
    with open(path, 'rb') as file:
        return pickling.load(file)


def _row_ranges(frame: pd.DataFrame, max_byte: int) -> list[tuple[int, int]]:
    """Give the first row and the row after the last of each piece: gokart's pieces, but none that is empty."""
    rows, columns = frame.shape
    # the values of no rows have the type of all: their size is known without making them
    size = frame.iloc[:0].to_numpy().dtype.itemsize * rows * columns
    pieces = max(1, min(rows, size // max_byte + 1))
    short, longer = divmod(rows, pieces)
    ends = [short * i + min(i, longer) for i in range(pieces + 1)]
    return list(itertools.pairwise(ends))
