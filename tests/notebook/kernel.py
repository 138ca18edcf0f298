"""A real IPython kernel for a test: it runs cells and tells everything that came of them."""

from __future__ import annotations

import os
import queue
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).parents[2]


@dataclass
class Cell:
    """What a cell showed: `outputs` as a saved notebook has them, and how it ended."""

    status: str = ''
    outputs: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    updates: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def stdout(self) -> str:
        """Return what was printed."""
        return self._stream('stdout')

    @property
    def stderr(self) -> str:
        """Return what was written to standard error."""
        return self._stream('stderr')

    @property
    def value(self) -> str | None:
        """Return the text of `Out[…]`."""
        found = [output['data']['text/plain'] for output in self.outputs if output['type'] == 'execute_result']
        return found[-1] if found else None

    @property
    def html(self) -> list[str]:
        """Return the HTML of each output that has some."""
        found = [output.get('data', {}).get('text/html', '') for output in self.outputs]
        return [html for html in found if html]

    @property
    def widgets(self) -> int:
        """Return how many live widgets it shows."""
        return sum('application/vnd.jupyter.widget-view+json' in output.get('data', {}) for output in self.outputs)

    @property
    def traceback(self) -> str:
        """Return the traceback without colours."""
        lines = self.error['traceback'] if self.error else []
        return re.sub(r'\x1b\[[0-9;]*m', '', '\n'.join(lines))

    def _stream(self, name: str) -> str:
        return ''.join(
            output['text'] for output in self.outputs if output['type'] == 'stream' and output['name'] == name
        )


class Kernel:
    """A running kernel; the outputs of all its cells are kept up to date, as a front end does."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client
        self._by_display_id: dict[str, list[tuple[Cell, dict[str, Any]]]] = {}

    def run(self, code: str, timeout: float = 60, interrupt_after: float | None = None) -> Cell:
        """Run a cell; `interrupt_after` seconds after its start the kernel is interrupted."""
        cell = Cell()
        # else an older kernel drops what comes right after an error
        sent = self.client.execute(code, allow_stdin=False, stop_on_error=False)
        deadline = time.monotonic() + timeout
        interrupt_at = None if interrupt_after is None else time.monotonic() + interrupt_after
        while True:
            if interrupt_at is not None and time.monotonic() > interrupt_at:
                self.manager.interrupt_kernel()
                interrupt_at = None
            try:
                message = self.client.get_iopub_msg(timeout=0.1)
            except queue.Empty:
                if time.monotonic() > deadline:
                    raise AssertionError(f'the cell does not end: {code}') from None
                continue
            if message['parent_header'].get('msg_id') == sent:
                cell.messages.append(message)
                if message['msg_type'] == 'status' and message['content']['execution_state'] == 'idle':
                    break
                self._take(cell, message)
            elif message['msg_type'] == 'update_display_data':
                self._update(message['content'])  # from a thread, between two cells
        cell.status = self._reply(sent)['content']['status']
        return cell

    def ok(self, code: str, **options: Any) -> Cell:
        """Run a cell that must end well."""
        cell = self.run(code, **options)
        assert cell.status == 'ok', cell.traceback + cell.stderr
        return cell

    def complete(self, code: str, cursor: int | None = None) -> list[str]:
        """Return what Tab offers, as the text that the line would have at the cursor's word."""
        reply = self.client.complete(code, len(code) if cursor is None else cursor, reply=True, timeout=30)
        matches: list[str] = reply['content']['matches']
        return matches

    def _reply(self, sent: str) -> dict[str, Any]:
        while True:
            reply: dict[str, Any] = self.client.get_shell_msg(timeout=10)
            if reply['parent_header'].get('msg_id') == sent:
                return reply

    def _take(self, cell: Cell, message: dict[str, Any]) -> None:
        kind, content = message['msg_type'], message['content']
        if kind == 'stream':
            last = cell.outputs[-1] if cell.outputs else {}
            if last.get('type') == 'stream' and last['name'] == content['name']:
                last['text'] += content['text']
            else:
                cell.outputs.append({'type': 'stream', **content})
        elif kind in ('display_data', 'execute_result'):
            output = {'type': kind, 'data': content['data']}
            cell.outputs.append(output)
            shown = content.get('transient', {}).get('display_id')
            if shown:
                self._by_display_id.setdefault(shown, []).append((cell, output))
        elif kind == 'update_display_data':
            cell.updates += 1
            self._update(content)
        elif kind == 'error':
            cell.error = content

    def _update(self, content: dict[str, Any]) -> None:
        for _, output in self._by_display_id.get(content['transient']['display_id'], []):
            output['data'] = content['data']


@contextmanager
def running_kernel(place: Path, cwd: Path, **environment: str) -> Iterator[Kernel]:
    """Run a kernel in `cwd`, with settings of its own below `place`."""
    manager = KernelManager(kernel_name='python3')
    manager.kernel_cmd = [sys.executable, '-m', 'ipykernel_launcher', '-f', '{connection_file}']
    manager.start_kernel(cwd=str(cwd), env=_environment(place) | environment)
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _environment(place: Path) -> dict[str, str]:
    own = {f'JUPYTER_{name.upper()}_DIR': str(place / name) for name in ('config', 'data', 'runtime')}
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(('JUPYTER_', 'JPY_', 'MPLBACKEND'))
    }
    # else each kernel that defines a task starts one more process
    set_here = {'IPYTHONDIR': str(place / 'ipython'), 'PYTHONPATH': str(ROOT), 'KARTNB_WARM_WORKERS': 'false'}
    return {**kept, **own, **set_here}
