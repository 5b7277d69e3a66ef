"""What goes wrong with a file: bytes lost, turned over, doubled; headers and tables that lie.

`mutate` gives the same bytes for the same seed on every machine.
"""

import gzip
import io
import json
import math
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence

NUMBERS = (0, 1, 2, 3, 7, 8, 15, 16, 31, 33, 64, 127, 128, 255, 256, 4096, 16383, 20000, 32767,
           32768, 65535, 65536, 100_000, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1,
           2**64 - 1)  # fmt: skip
# What a cell or a JSON value becomes. Paths leave the folder; numbers are longer than Python reads.
TEXTS = (
    "", " ", "0", "-1", "nan", "NaN", "inf", "-inf", "1e400", "1e-400", "9" * 5000, "0x10", "1_0",
    "٣", "½", "True", "null", "\0", "a\0b", "\ufeff", "\u202e", "\x1b[2J", "\ud800",
    "é" * 300, "x" * 5000, "../", "../../etc/passwd", "/etc/passwd", "..\\..\\x", "C:\\x",
    "C:/x", "~", ".", "..", "./.", "a/../../..", "a\nb", "a\rb", "\r", '"', "'", ",", ";",
    "=1+1", "<script>alert(1)</script>", "{{7*7}}", "%s%n", "http://localhost/", "file:///etc",
    "CON", "a" * 255 + ".mp4",
)  # fmt: skip
# Other things that may lie under a name, playlists among them: they name other files.
FOREIGN = (
    b"", b"\0" * 1000, b"\xff" * 1000, b"\n" * 1000, b"<html><body>404</body></html>",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n",
    b"ffconcat version 1.0\nfile seed0\n", b"v=0\nm=video 5004 RTP/AVP 96\n",
    b"PK\5\6" + bytes(18), b"cos\nsystem\n(S'exit 9'\ntR.", b"\x80\x04N.", b"GIF89a", b"BM" * 99,
    b"\x93NUMPY\1\0", b"RIFF\xff\xff\xff\xffAVI ", b"\xff\xd8\xff\xd9",
    b"\x89PNG\r\n\x1a\n" * 9, b"SIMPLE  =  T", b"II*\0" * 40, b"\xef\xbb\xbf", b"[" * 200_000,
    b'{"a":' * 100_000, b'"' + b"x" * 300_000, b"," * 300_000,
)  # fmt: skip
# Marks of a header; what follows them is what a header says.
MARKS = {
    "mp4": (b"moov", b"trak", b"mvhd", b"tkhd", b"mdhd", b"hdlr", b"stsd", b"mp4v", b"stts",
            b"stsc", b"stsz", b"stco", b"esds", b"elst", b"ftyp", b"mdat", b"\0\0\1\x20"),
    "avi": (b"avih", b"strh", b"strf", b"movi", b"idx1", b"00dc", b"LIST", b"hdrl", b"vids",
            b"MJPG", b"indx"),
    "mpeg": (b"\0\0\1\xb3", b"\0\0\1\xb5", b"\0\0\1\xba", b"\0\0\1\xbb", b"\0\0\1\xe0",
             b"\0\0\1\0", b"\0\0\1\1"),
    "gif": (b"GIF89a", b"NETSCAPE", b"!\xf9\x04", b",\0\0\0\0"),
    "png": (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"acTL", b"fcTL"),
    "jpeg": (b"\xff\xc0", b"\xff\xc2", b"\xff\xc4", b"\xff\xda", b"\xff\xdb", b"\xff\xdd",
             b"\xff\xe0", b"\xff\xe1", b"\xff\xc3"),
    "dicom": tuple(struct.pack("<HH", *tag) for tag in (
        (2, 0), (2, 0x10), (8, 8), (8, 0x60), (0x10, 0x10), (0x18, 0x50), (0x20, 0xE),
        (0x20, 0x32), (0x20, 0x37), (0x28, 2), (0x28, 4), (0x28, 6), (0x28, 8), (0x28, 0x10),
        (0x28, 0x11), (0x28, 0x30), (0x28, 0x100), (0x28, 0x101), (0x28, 0x102), (0x28, 0x103),
        (0x28, 0x1050), (0x28, 0x1051), (0x28, 0x1052), (0x28, 0x1053), (0x7FE0, 0x10),
        (0xFFFE, 0xE000), (0xFFFE, 0xE0DD))),
    "npy": (b"descr", b"shape", b"fortran_order", b"NUMPY"),
    "zip": (b"PK\1\2", b"PK\3\4", b"PK\5\6"),
}  # fmt: skip
_TRANSFER_SYNTAXES = tuple(
    b"1.2.840.10008.1.2" + end
    for end in (b"", b".1", b".1.99", b".2", b".4.50", b".4.51", b".4.57", b".4.70", b".4.80",
                b".4.81", b".4.90", b".4.91", b".4.100", b".4.102", b".5")
)  # fmt: skip
# Byte and struct letter of the fields of a NIfTI-1 header.
_NIFTI_FIELDS = (
    *((40 + 2 * k, "h") for k in range(8)), (0, "i"), (70, "h"), (72, "h"), (252, "h"), (254, "h"),
    *((76 + 4 * k, "f") for k in range(8)), (108, "f"), (112, "f"), (116, "f"),
    *((256 + 4 * k, "f") for k in range(18)),
)  # fmt: skip


def mutate(rng: random.Random, data: bytes, kind: str, others: Sequence[bytes] = ()) -> bytes:
    """A damaged copy of a file.

    Args:
        rng: seeded.
        data: of a sound file.
        kind: a key of `_OWN`, or another name, for which bytes alone are damaged.
        others: sound files that parts may come from.
    """
    if rng.random() < 0.03:
        return rng.choice((*FOREIGN, *others))
    if kind == "gz" and rng.random() < 0.8:
        return gzip.compress(mutate(rng, gzip.decompress(data), "nifti", ()), 1, mtime=0)
    own = _OWN.get(kind)
    if own and rng.random() < 0.6:
        data = own(rng, data)
        if rng.random() < 0.7:
            return data
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(_ON_BYTES)(rng, data, others)
        if kind in MARKS and rng.random() < 0.4:
            data = _after_a_mark(rng, data, MARKS[kind])
    return _true_checksums(data) if kind == "png" and rng.random() < 0.6 else data


def _place(rng: random.Random, data: bytes) -> int:
    """Half of the time in the first 512 bytes, where headers are."""
    end = len(data) if rng.random() < 0.5 else min(len(data), 512)
    return rng.randrange(end + 1)


def _number(rng: random.Random) -> bytes:
    size = rng.choice((1, 2, 2, 4, 4, 8))
    value = rng.choice(NUMBERS) if rng.random() < 0.8 else rng.getrandbits(8 * size)
    return (value % 256**size).to_bytes(size, rng.choice(("little", "big")))


def _over(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _cut(rng, data, others):
    return data[: int(len(data) * rng.choice((rng.random(), 1 - rng.random() ** 4)))]


def _turn_bits(rng, data, others):
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if changed:
            changed[min(_place(rng, data), len(data) - 1)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _put_number(rng, data, others):
    return _over(data, _place(rng, data), _number(rng))


def _fill(rng, data, others):
    count = rng.choice((1, 16, 512, 4096))
    new = rng.choice((bytes(count), b"\xff" * count, rng.randbytes(count)))
    return _over(data, _place(rng, data), new)


def _chunk(rng: random.Random, data: bytes) -> bytes:
    at = _place(rng, data)
    return data[at : at + rng.choice((1, 4, 16, 64, 512, 4096))]


def _lose_chunk(rng, data, others):
    at = _place(rng, data)
    return data[:at] + data[at + rng.choice((1, 2, 4, 16, 512, 4096)) :]


def _double_chunk(rng, data, others):
    at = _place(rng, data)
    return data[:at] + _chunk(rng, data) * rng.choice((1, 1, 2, 50)) + data[at:]


def _splice(rng, data, others):
    other = rng.choice(others) if others else data
    return data[: _place(rng, data)] + other[_place(rng, other) :]


_ON_BYTES = (_cut, _turn_bits, _turn_bits, _put_number, _put_number, _fill, _lose_chunk,
             _double_chunk, _splice)  # fmt: skip


def _after_a_mark(rng: random.Random, data: bytes, marks: Sequence[bytes]) -> bytes:
    places = [found.end() for mark in marks for found in re.finditer(re.escape(mark), data)]
    if not places:
        return data
    at = rng.choice(places) + rng.choice((-8, 0, 0, 1, 2, 3, 4, 4, 5, 6, 8, 8, 12, 16, 24, 28, 32))
    return _over(data, max(at, 0), _number(rng))


def _marked(kind: str) -> Callable[[random.Random, bytes], bytes]:
    def change(rng: random.Random, data: bytes) -> bytes:
        for _ in range(rng.choice((1, 1, 2, 3))):
            data = _after_a_mark(rng, data, MARKS[kind])
        return data

    return change


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """(name, content) of each chunk that is there whole."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        if at + 12 + length > len(data):
            break
        chunks.append((name, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def png_file(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A PNG file with right lengths and checksums."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )  # fmt: skip


def _true_checksums(data: bytes) -> bytes:
    chunks = png_chunks(data)
    return png_file(chunks) if chunks else data


def _png(rng: random.Random, data: bytes) -> bytes:
    chunks = png_chunks(data)
    if not chunks:
        return data
    number, what = rng.randrange(len(chunks)), rng.randrange(7)
    name, content = chunks[number]
    if what == 0:  # size
        side = struct.pack(">I", rng.choice((*NUMBERS[:26], 31, 300, 5000, 19999)))
        chunks[0] = (chunks[0][0], _over(chunks[0][1], rng.choice((0, 4)), side))
    elif what == 1:  # bit depth, kind of colour, interlacing
        new = bytes([rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))])
        chunks[0] = (chunks[0][0], _over(chunks[0][1], rng.randrange(8, 13), new))
    elif what == 2:
        chunks[number:number] = [chunks[number]] * rng.choice((1, 1, 30))
    elif what == 3:
        del chunks[number]
    elif what == 4:
        rng.shuffle(chunks)
    elif what == 5:  # what is packed
        plain = b"".join(content for name, content in chunks if name == b"IDAT")
        try:
            plain = zlib.decompress(plain)
        except zlib.error:
            pass
        plain = rng.choice((bytes(3_000_000), rng.choice(_ON_BYTES)(rng, plain, ())))
        chunks = [(b"IDAT", zlib.compress(plain)) if n == b"IDAT" else (n, c) for n, c in chunks]
    else:
        new = rng.choice((b"acTL", b"fcTL", b"fdAT", b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"IEND"))
        chunks.insert(number, (new, rng.randbytes(rng.choice((0, 8, 26, 256, 768)))))
    return png_file(chunks)


def _dicom(rng: random.Random, data: bytes) -> bytes:
    if rng.random() < 0.75:
        return _marked("dicom")(rng, data)
    found = re.search(rb"1\.2\.840\.10008\.1\.2[.0-9]*\0?", data)
    if not found:
        return data
    new = rng.choice(_TRANSFER_SYNTAXES)[: found.end() - found.start()]
    return _over(data, found.start(), new.ljust(found.end() - found.start(), b"\0"))


def _nifti(rng: random.Random, data: bytes) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 3))):
        at, letter = rng.choice(_NIFTI_FIELDS)
        if letter == "f":
            value = rng.choice((0, 1, -1, math.nan, math.inf, 1e30, 1e-30, 352, 1e9, -352, 0.5))
        else:
            value = rng.choice((0, 1, 2, 3, 4, 5, 7, 8, 16, 48, 64, 100, 255, 512, 768, 1024, 1280,
                                1536, 2048, 2304, 32767, -1, -32768))  # fmt: skip
        data = _over(data, at, struct.pack("<" + letter, value))
    return data


def _npy(rng: random.Random, data: bytes) -> bytes:
    """Another description in the header, its length kept right."""
    if len(data) < 10:
        return data
    length = int.from_bytes(data[8:10], "little")
    text = data[10 : 10 + length].decode("latin-1")
    shape = rng.choice((
        "(100000, 100000)", "(2**40,)", "()", "(-1,)", "(-1, -1)", "(0, 5)", "(1,)", "5", "(1.5,)",
        "(9223372036854775807,)", "(True, 3)", "(99, 201, 5)",
    ))  # fmt: skip
    kind = rng.choice((
        "'|O'", "'<U99999999'", "'|V8'", "'<f2'", "'<f8'", "'|b1'", "'<c8'", "'>i8'", "'|u1'",
        "[('a', '<i4')]", "'<M8[s]'", "''", "5", "'|S0'",
    ))  # fmt: skip
    change = rng.randrange(6)
    if change < 2:
        text = re.sub(r"\([0-9, ]*\)", shape, text)
    elif change < 4:
        text = re.sub(r"'[<>|=][a-z]+[0-9]*'", lambda _: kind, text)
    elif change == 4:
        text = rng.choice(("(" * 3000, "{" * 3000, "-" * 5000 + "1", "{}", "[]", "1L", "{'a':\n"))
    else:
        text = text.replace(rng.choice(("descr", "shape", "fortran_order", "False")),
                            rng.choice(("True", "x", "9" * 5000)))  # fmt: skip
    header = text.encode("latin-1")
    version = bytes((rng.choice((1, 1, 1, 2, 3, 9)), 0))
    size = len(header).to_bytes(2 if version[0] == 1 else 4, "little")
    return data[:6] + version + size + header + data[10 + length :]


def _safetensors(rng: random.Random, data: bytes) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = _json(rng, data[8 : 8 + length])
    if rng.random() < 0.3:
        kind = rng.choice(("BF16", "F8_E4M3", "F8_E5M2", "F4", "U64", "C64", "BOOL", "x"))
        header = re.sub(rb'"[FIU][0-9]+"', f'"{kind}"'.encode(), header, count=1)
    size = len(header) if rng.random() < 0.9 else rng.choice(NUMBERS)
    return (size % 2**64).to_bytes(8, "little") + header + data[8 + length :]


def _zip(rng: random.Random, data: bytes) -> bytes:
    """One file inside changed, lengths and checksums right."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old:
            inside = [(one.filename, old.read(one)) for one in old.infolist()]
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return data
    number = rng.randrange(len(inside))
    name, content = inside[number]
    inside[number] = (name, rng.choice(_ON_BYTES)(rng, content, [c for _, c in inside]))
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as new:
        for name, content in inside:
            new.writestr(zipfile.ZipInfo(name), content)
    return written.getvalue()


def _json(rng: random.Random, data: bytes) -> bytes:
    """One value, key or list changed; at times the text itself, where it may not be JSON at all."""
    try:
        document = json.loads(data)
    except ValueError:
        return data
    for _ in range(rng.choice((1, 1, 2, 4))):
        document = _change_json(rng, document)
    text = json.dumps(document, ensure_ascii=rng.random() < 0.8)
    values = [found.span() for found in re.finditer(r'-?[0-9.]+|"[^"]*"|true|null', text)]
    if values and rng.random() < 0.25:  # what json.dumps does not write
        first, end = rng.choice(values)
        new = rng.choice(("NaN", "-Infinity", "1e999", "9" * 5000, "-" + "9" * 400, "1e", "01",
                          "[" * 3000, "[" * 3000 + "]" * 3000, '{"a":' * 3000, '"\\ud800"',
                          '"\\u0000"', "'x'", "", "1.", "1" + "0" * 400 + ".0"))  # fmt: skip
        text = text[:first] + new + text[end:]
    return text.encode("utf-8", "surrogatepass" if rng.random() < 0.5 else "backslashreplace")


def _change_json(rng: random.Random, document: object) -> object:
    nodes, waiting = [], [document]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (dict, list)) and node:
            nodes.append(node)
            waiting += node.values() if isinstance(node, dict) else node
    if not nodes or rng.random() < 0.02:
        return _json_value(rng)
    node = rng.choice(nodes)
    key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
    what = rng.randrange(10)
    if what < 6:
        node[key] = _json_value(rng)
    elif what == 6:
        del node[key]
    elif what == 7 and isinstance(node, dict):
        node[rng.choice(TEXTS)] = node.pop(key)
    elif isinstance(node, list):
        node.insert(key, node[key] if what == 8 else _json_value(rng))
    else:
        node[key] = [node[key]]
    return document


def _json_value(rng: random.Random) -> object:
    return rng.choice((
        None, True, False, [], {}, [[]], [None], -1, 0, 1, 0.5, 2**31, 2**63, 10**30, 10**400,
        1e308, -1e308, math.nan, math.inf, [1, 2], [1, 2, 3], [[1, 2]], {"a": 1}, [0] * 1000,
        *rng.sample(TEXTS, 12),
    ))  # fmt: skip


def _csv(rng: random.Random, data: bytes) -> bytes:
    """Cells, rows and columns changed; at times quotes, ends of lines and the encoding."""
    lines = data.decode("utf-8", "replace").splitlines()
    mark = ";" if lines and ";" in lines[0] else ","
    rows = [line.split(mark) for line in lines] or [[""]]
    for _ in range(rng.choice((1, 1, 2, 5))):
        number = rng.choice((0, rng.randrange(len(rows))))
        row = rows[number]
        at = rng.randrange(len(row)) if row else 0
        what = rng.randrange(10)
        if what < 5 and row:
            row[at] = rng.choice(TEXTS)
        elif what == 5 and row:
            del row[at]
        elif what == 6:
            row.insert(at, rng.choice(TEXTS))
        elif what == 7:
            rows.insert(number, list(row))
        elif what == 8:
            rows[number] = []
        elif row:
            row[at] = rng.choice(("x" * 140_000, '"' + row[at], f'"{row[at]}"', row[at] + "\r",
                                  "\t" + row[at], row[at].upper(), "0" + row[at]))  # fmt: skip
    ending = rng.choice(("\n", "\n", "\n", "\r\n", "\r"))
    text = ending.join(rng.choice((mark, mark, mark, ";")).join(row) for row in rows) + ending
    encoding = rng.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"))
    return text.encode(encoding, "replace")


_OWN = {
    "png": _png, "dicom": _dicom, "nifti": _nifti, "npy": _npy, "safetensors": _safetensors,
    "json": _json, "csv": _csv, "zip": _zip,
    **{kind: _marked(kind) for kind in ("mp4", "avi", "mpeg", "gif", "jpeg")},
}  # fmt: skip
