"""Reading HTML back with a real parser."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

VOID = {'br', 'img', 'hr'}
SVG = '{http://www.w3.org/2000/svg}'


class Skeleton(HTMLParser):
    """The tags of a fragment with the names of their attributes, its texts, and its attributes' values."""

    def __init__(self, fragment: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.texts: list[str] = []
        self.values: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(fragment)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.values += [(name, value or '') for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ['style'] and data.strip():
            self.texts.append(data.strip())

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f'a comment: {data}')

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f'a declaration: {decl}')

    @property
    def text(self) -> str:
        return re.sub(r'\s+', ' ', ' '.join(self.texts))

    @property
    def picture(self) -> ElementTree.Element:
        """The SVG that the image of the fragment carries."""
        source = dict(self.values)['src']
        return ElementTree.fromstring(base64.b64decode(source.removeprefix('data:image/svg+xml;base64,')).decode())


def boxes(svg: ElementTree.Element) -> list[ElementTree.Element]:
    """The boxes of a picture."""
    return svg.findall(f'./{SVG}g/{SVG}svg')


def written(element: ElementTree.Element, kind: str = '') -> list[str]:
    """The visible texts of an element, of one kind if asked for."""
    return [t.text or '' for t in element.iter(f'{SVG}text') if kind in (t.get('class') or '').split() or not kind]
