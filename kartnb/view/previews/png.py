"""PNG files written, and the sizes of image files read, with nothing but the standard library."""

from __future__ import annotations

import struct
import zlib

_SIGNATURE = b'\x89PNG\r\n\x1a\n'
#: Channels to the colour type of PNG.
_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}


def encode(rows: bytes, width: int, height: int, channels: int) -> bytes:
    """A PNG file of pixels of eight bits.

    Parameters
    ----------
    rows
        The pixels, row by row, ``height * width * channels`` bytes.
    width, height
        In pixels.
    channels
        1 (grey), 3 (red, green, blue) or 4 (and alpha).

    Examples
    --------
    >>> size_of(encode(bytes(6), 3, 2, 1))
    ('image/png', 3, 2)
    """
    stride = width * channels
    lines = b''.join(b'\0' + rows[start : start + stride] for start in range(0, stride * height, stride))
    header = struct.pack('>IIBBBBB', width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    return _SIGNATURE + _chunk(b'IHDR', header) + _chunk(b'IDAT', zlib.compress(lines, 6)) + _chunk(b'IEND', b'')


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def size_of(data: bytes) -> tuple[str, int, int] | None:
    """The kind of an image file with its width and height in pixels; None for what is no such image."""
    if data.startswith(_SIGNATURE) and len(data) >= 24:
        return ('image/png', *struct.unpack('>II', data[16:24]))
    if data[:6] in (b'GIF87a', b'GIF89a') and len(data) >= 10:
        return ('image/gif', *struct.unpack('<HH', data[6:10]))
    if data.startswith(b'\xff\xd8\xff'):
        return _jpeg_size(data)
    return None


def _jpeg_size(data: bytes) -> tuple[str, int, int] | None:
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack('>HH', data[at + 5 : at + 9])
            return 'image/jpeg', width, height
        at += 2 + struct.unpack('>H', data[at + 2 : at + 4])[0]
    return None
