"""Taking over a descriptor that leads to a terminal: what is written to it goes on being written to a terminal.

So C code and child processes write line by line, in colours, and as wide as the terminal is. A terminal makes a writer
wait when nobody reads it, so a small process (`cat`) does nothing but take what is written to the file. That takes a
moment: where the order matters, a mark is sent after what was written, and waited for.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable

from kartnb.execution.capture.descriptors import DescriptorTap

#: Written to find out what has arrived in the file. A terminal that saw it would ignore it.
_MARK = b'\x1b]kartnb\x07'
_PATIENCE = 2.0
_LOOK_BACK = 1 << 16
#: After so many texts of Python code with nothing in between, only those that come after a pause are waited for.
_CALM = 200
_PAUSE = 0.005


class TerminalTap(DescriptorTap):
    """A descriptor that leads to a terminal, led into a file by way of another terminal.

    Parameters
    ----------
    number
        1 or 2.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        try:
            self._master, self._slave = os.openpty()
            self._resemble()
            self._copier = os.posix_spawnp(
                'cat',
                ['cat'],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, self._master, 0),
                    (os.POSIX_SPAWN_DUP2, self.file, 1),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
                setpgroup=0,  # an interrupt from the keyboard is not for it
            )
        except BaseException:
            super().give_back()
            super().close()
            raise
        os.dup2(self._slave, number)

    def mark(self) -> None:
        """Send a mark after what was written so far."""
        if not self.closed:
            os.write(self._slave, _MARK)

    def wait_for_mark(self) -> None:
        """Wait until the mark is in the file, and so all that came before it."""
        deadline = time.monotonic() + _PATIENCE
        while not self.closed and time.monotonic() < deadline:
            start = max(self.position, self.end() - _LOOK_BACK)
            if _MARK in os.pread(self.reader, _LOOK_BACK, start):
                return
            time.sleep(0.0001)

    def read(self) -> bytes:
        data = super().read()
        begun = data.rfind(_MARK[:1], -len(_MARK))
        if begun >= 0 and _MARK.startswith(data[begun:]) and len(data) - begun < len(_MARK):
            rest = os.read(self.reader, len(_MARK) - (len(data) - begun))
            self.position += len(rest)
            data += rest
        return data.replace(_MARK, b'')

    def close(self) -> None:
        os.kill(self._copier, signal.SIGKILL)
        try:
            os.waitpid(self._copier, 0)
        except ChildProcessError:  # somebody has waited for it
            pass
        os.close(self._slave)
        os.close(self._master)
        super().close()

    def _resemble(self) -> None:
        """Be as the terminal that stands behind: its size and modes. What is written stays as it is."""
        import fcntl  # not on Windows
        import termios

        size = fcntl.ioctl(self.saved, termios.TIOCGWINSZ, bytes(8))
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, size)
        modes = termios.tcgetattr(self.saved)
        modes[1] &= ~termios.OPOST
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(self._slave, termios.TCSANOW, modes)


class Terminals:
    """The taken descriptors that lead to terminals.

    Parameters
    ----------
    taps
        All taken descriptors.
    """

    def __init__(self, taps: Iterable[DescriptorTap]) -> None:
        self._taps = [tap for tap in taps if isinstance(tap, TerminalTap)]
        self._calm = 0
        self._asked = 0.0
        self._ends: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._taps)

    def begin(self) -> None:
        """A task begins."""
        self._calm = 0

    def catch_up(self) -> None:
        """Wait until everything that was written so far is in the files."""
        for tap in self._taps:
            tap.mark()
        for tap in self._taps:
            tap.wait_for_mark()

    def catch_up_before_text(self) -> None:
        """Wait for what was written before a text of Python code, as far as can be expected that there is something."""
        now = time.monotonic()
        is_due = self._calm < _CALM or now - self._asked > _PAUSE
        self._asked = now
        if is_due:
            nothing_else = [end + len(_MARK) for end in self._ends]
            self.catch_up()
            self._ends = [tap.end() for tap in self._taps]
            self._calm = self._calm + 1 if self._ends == nothing_else else 0
