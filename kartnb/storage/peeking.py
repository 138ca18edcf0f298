"""Reading pickles without running anything that they name.

Looking at a workspace must be safe whoever has written it, so here a pickle gives plain containers, numbers, texts,
numpy scalars and dates. For anything else it gives an `Unread`, which knows the name of its type and nothing more.
"""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any, ClassVar

from kartnb._luigi import PythonUnpickler
from kartnb.errors import UnreadableResultError
from kartnb.storage.plain_values import MAKERS, DType, Maker, Standin, Unread, as_key

__all__ = ['Unread', 'peek']


class _Peeker(PythonUnpickler):  # type: ignore[misc]
    """The unpickler in Python: the one in C can be made to take any amount of memory."""

    def find_class(self, module: str, name: str) -> Any:
        """Find what a pickle names: a maker of something plain, or what stands in for it."""
        full = f'{"builtins" if module == "__builtin__" else module}.{name}'
        make = MAKERS.get(full)
        if module.startswith('numpy') and name == '_frombuffer':
            full = 'numpy.ndarray'
        return Standin(full) if make is None else Maker(full, make)

    def persistent_load(self, _: Any) -> Any:
        """Take what is kept outside of the pickle as unread."""
        return Standin('value outside of the pickle')

    def get_extension(self, _: int) -> None:
        """Take what only a table of this process names as unread."""
        self.append(Standin('extension'))

    def _load_build(self) -> None:
        state = self.stack.pop()
        setstate = getattr(self.stack[-1], '__setstate__', None)
        if isinstance(self.stack[-1], DType | Standin) and setstate is not None:
            setstate(state)

    def _load_newobj(self) -> None:
        arguments = self.stack.pop()
        self._make_of(self.stack.pop(), arguments)

    def _load_newobj_ex(self) -> None:
        self.stack.pop()
        self._load_newobj()

    def _load_old_object(self) -> None:
        arguments = self.pop_mark()
        self._make_of(arguments[0], arguments[1:])

    def _load_instance(self) -> None:
        module = self.readline()[:-1].decode('ascii', 'replace')
        name = self.readline()[:-1].decode('ascii', 'replace')
        self._make_of(self.find_class(module, name), self.pop_mark())

    def _load_reduce(self) -> None:
        arguments = self.stack.pop()
        self._make_of(self.stack.pop(), arguments)

    def _make_of(self, maker: Any, arguments: Any) -> None:
        known = isinstance(maker, Maker | Standin) and isinstance(arguments, list | tuple)
        self.append(maker(*arguments) if known else Standin('value'))

    def _load_dict(self) -> None:
        items = self.pop_mark()
        self.append({as_key(items[i]): items[i + 1] for i in range(0, len(items) - 1, 2)})

    def _load_setitem(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self.stack[-1][as_key(key)] = value

    def _load_setitems(self) -> None:
        items = self.pop_mark()
        for i in range(0, len(items) - 1, 2):
            self.stack[-1][as_key(items[i])] = items[i + 1]

    def _load_additems(self) -> None:
        items = self.pop_mark()
        for item in items:
            self.stack[-1].add(as_key(item))

    def _load_frozenset(self) -> None:
        items = self.pop_mark()
        self.append(frozenset(map(as_key, items)))

    def _load_bytearray(self) -> None:
        # the bytes first: the unpickler of the library takes as much memory as the pickle says that there will be
        (size,) = struct.unpack('<Q', self.read(8))
        self.append(self.read(size))

    dispatch: ClassVar[dict[int, Any]] = {
        **PythonUnpickler.dispatch,
        pickle.BUILD[0]: _load_build,
        pickle.NEWOBJ[0]: _load_newobj,
        pickle.NEWOBJ_EX[0]: _load_newobj_ex,
        pickle.OBJ[0]: _load_old_object,
        pickle.INST[0]: _load_instance,
        pickle.REDUCE[0]: _load_reduce,
        pickle.DICT[0]: _load_dict,
        pickle.SETITEM[0]: _load_setitem,
        pickle.SETITEMS[0]: _load_setitems,
        pickle.ADDITEMS[0]: _load_additems,
        pickle.FROZENSET[0]: _load_frozenset,
        pickle.BYTEARRAY8[0]: _load_bytearray,
    }


def peek(pickled: bytes) -> Any:
    """Read a pickle as far as it holds plain values; nothing that it names is imported or called.

    Parameters
    ----------
    pickled
        The bytes of a pickle of any protocol.

    Returns
    -------
    Any
        The value, with an `Unread` in the place of each part that is not plain.

    Raises
    ------
    kartnb.errors.UnreadableResultError
        When the bytes are no pickle.

    Examples
    --------
    >>> import fractions, pickle
    >>> peek(pickle.dumps({'accuracy': 0.9, 'share': fractions.Fraction(1, 3)}))
    {'accuracy': 0.9, 'share': <fractions.Fraction>}
    """
    try:
        value = _Peeker(io.BytesIO(pickled)).load()
    except Exception as error:
        raise UnreadableResultError(f'this is no pickle that can be looked at ({type(error).__name__})') from error
    return Unread(value.type_name) if isinstance(value, Maker) else value
