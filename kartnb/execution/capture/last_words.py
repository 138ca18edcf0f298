"""If this process dies in C code, what it wrote last is still shown, by a small process that waits for that."""

from __future__ import annotations

import os
from collections.abc import Iterable

_SHELL = '/bin/sh'
#: Ends when it is told to; if it is not told before this process ends, it shows what is left in the two files.
_SCRIPT = 'read end <&3 || { sleep 0.2; cat <&4 >&5; cat <&6 >&7; }'


class LastWords:
    """Shows what is left in the files of taken descriptors as soon as this process is dead.

    Parameters
    ----------
    places
        Two pairs of descriptors: one that reads a file, and one that leads to where its bytes are to be shown.

    Raises
    ------
    OSError
        When no process can be started.
    """

    def __init__(self, places: Iterable[tuple[int, int]]) -> None:
        import fcntl  # not on Windows

        reading, self._end = os.pipe()
        # the reading positions are shared with this process, so nothing is shown twice
        descriptors = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 20) for number in (reading, *sum(places, ()))]
        os.close(reading)
        try:
            self._process = os.posix_spawn(
                _SHELL,
                [_SHELL, '-c', _SCRIPT],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, number, 3 + i) for i, number in enumerate(descriptors)],
                setpgroup=0,  # an interrupt from the keyboard is not for it
            )
        except BaseException:
            os.close(self._end)
            raise
        finally:
            for number in descriptors:
                os.close(number)

    def close(self) -> None:
        """Say that nothing is left, and wait for the small process to end."""
        try:
            os.write(self._end, b'\n')
        except OSError:  # somebody has ended it
            pass
        os.close(self._end)
        try:
            os.waitpid(self._process, 0)
        except ChildProcessError:  # somebody has waited for it
            pass
