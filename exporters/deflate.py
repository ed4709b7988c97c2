"""Compressed bytes that are a function of their input and of the version of one library, named by `COMPRESSOR`.

A manifest compares the checksums of files that are made again, so nothing but the data may decide the bytes: not the
heap, the threads or the processor. zlib-ng's source gives reasons to expect it: a new stream clears its hash tables and
zeroes the bytes that a match may read beyond the data, and the hash function is one on every processor. Reasons, the
alternatives and figures: docs/decisions.md, `benchmarks/bench_compressors.py`.

Every stream is used for one input, given whole, and thrown away: zlib-ng had a fault in streams that are used again.
"""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

try:
    from zlib_ng import gzip_ng, zlib_ng

    # level 1: a quarter less time, a third more bytes
    _codec, _gzip_file, _LEVEL, _SMALL = zlib_ng, gzip_ng, 2, 5
    COMPRESSOR = f"zlib-ng {zlib_ng.ZLIBNG_RUNTIME_VERSION} level {_LEVEL}"
except ImportError:  # no wheel for this machine: other bytes of the same content, in 1.8 times the time
    _codec, _gzip_file, _LEVEL, _SMALL = zlib, gzip, 1, 6
    COMPRESSOR = f"zlib {zlib.ZLIB_RUNTIME_VERSION} level {_LEVEL}"

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no name, time 0, system unknown
_LAST_BLOCK = b"\x03\x00"  # of deflate, empty
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, _codec.error)  # what reading damaged data raises


def gzip_bytes(data, *, small: bool = False) -> bytes:
    """A gzip file of `data`: same bytes for the same data and the same `COMPRESSOR`.

    Args:
        data: what supports the buffer protocol.
        small: a tenth fewer bytes in twice the time, by a higher level than that which `COMPRESSOR` names.
    """
    stream = _codec.compressobj(_SMALL if small else _LEVEL, zlib.DEFLATED, -15)
    tail = _codec.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")
    return b"".join((_GZIP_HEADER, stream.compress(data), stream.flush(), tail))


def gzip_parts(parts: Iterable) -> bytes:
    """A gzip file of several data, one after the other, each packed by itself: one alone need be in memory.

    Args:
        parts: what `gzip_bytes` takes; the bytes depend on where one ends and the next begins.
    """
    out, crc, size = [_GZIP_HEADER], 0, 0
    for part in parts:
        stream = _codec.compressobj(_LEVEL, zlib.DEFLATED, -15)
        out += stream.compress(part), stream.flush(zlib.Z_FULL_FLUSH)
        crc, size = _codec.crc32(part, crc), size + memoryview(part).nbytes
    tail = crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")
    return b"".join((*out, _LAST_BLOCK, tail))


def gunzip_blocks(data: bytes, size: int) -> Iterator[bytes]:
    """What `gzip_bytes` was given, `size` bytes at a time, the last fewer.

    Raises:
        EOFError: the data are cut off, or more than one such file; or another of `DAMAGED`.
    """
    stream = _codec.decompressobj(31)
    while not stream.eof:
        if block := stream.decompress(data, size):
            yield block
        elif not stream.eof:
            raise EOFError("the data end before the file does")
        data = stream.unconsumed_tail
    if stream.unused_data:
        raise EOFError("the data go on behind the file")


def deflate(data) -> bytes:
    """`data` in the zlib format, as HDF5's gzip filter wants it: same bytes for the same data and `COMPRESSOR`."""
    return _codec.compress(data, _LEVEL)


def inflate(data: bytes, most: int) -> bytes | None:
    """What `deflate` was given, never more than `most` bytes whatever the data claim, or None if they are damaged."""
    try:
        return _codec.decompressobj().decompress(data, most)
    except DAMAGED:
        return None


def open_gzip(raw: BinaryIO) -> BinaryIO:
    """The bytes of a gzip file, unpacked as they are read; reading raises one of `DAMAGED` where they are damaged."""
    return _gzip_file.open(raw)
