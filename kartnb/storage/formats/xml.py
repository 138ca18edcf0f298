"""XML documents."""

from __future__ import annotations

import io
from typing import IO, Any
from xml.etree import ElementTree

from kartnb.errors import WrongValueError
from kartnb.storage.formats.base import FileProcessor, ProcessorFactory, always


class XmlFileProcessor(FileProcessor):
    """Keeps an `xml.etree.ElementTree.ElementTree`.

    Examples
    --------
    >>> file = io.BytesIO()
    >>> XmlFileProcessor().dump(ElementTree.ElementTree(ElementTree.fromstring('<a>ü</a>')), file)
    >>> print(file.getvalue().decode())
    <?xml version='1.0' encoding='utf-8'?>
    <a>ü</a>
    """

    def check(self, obj: Any) -> None:
        """Take element trees."""
        if not isinstance(obj, ElementTree.ElementTree):
            raise WrongValueError(f'an xml file takes an xml.etree.ElementTree.ElementTree, not {type(obj).__name__}')

    def load(self, file: IO[Any]) -> ElementTree.ElementTree[Any]:
        """Read a document; an empty file gives an empty one."""
        data = file.read()
        if not data:
            return ElementTree.ElementTree()
        return ElementTree.ElementTree(ElementTree.fromstring(data))

    def dump(self, obj: Any, file: IO[Any]) -> None:
        """Write a document in UTF-8."""
        self.check(obj)
        if obj.getroot() is None:
            return
        if isinstance(file, io.TextIOBase):
            obj.write(file, encoding='unicode', xml_declaration=False)
        else:
            obj.write(file, encoding='utf-8', xml_declaration=True)


FORMATS: dict[str, ProcessorFactory] = {'.xml': always(XmlFileProcessor())}
