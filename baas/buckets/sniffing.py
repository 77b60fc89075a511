"""What bytes look like, told from how they begin; and a guess from a name. Neither is ever believed
more than what the uploader declared: they stand beside it, and decide together with it what a
browser may show."""

from __future__ import annotations

import mimetypes
import re

DEFAULT_TYPE = "application/octet-stream"
_HTML = re.compile(
    rb"<(?:!doctype|html|head|body|script|iframe|style|title|table|div|h1|a|p|br|img|b|font|meta"
    rb"|svg|!--)[\s>/]",
    re.IGNORECASE,
)
_MARKS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"\x00\x00\x01\x00", "image/x-icon"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"%!PS-Adobe-", "application/postscript"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"(\xb5/\xfd", "application/zstd"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (257, b"ustar", "application/x-tar"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"\x7fELF", "application/x-elf"),
    (0, b"MZ", "application/vnd.microsoft.portable-executable"),
    (0, b"\x00asm", "application/wasm"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
}
# Control characters that no text has.
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def sniff(head: bytes) -> str | None:
    """The media type that the first bytes look like; None for nothing known. HTML and SVG are
    found as a browser would find them, behind white space, marks and comments."""
    for offset, mark, found in _MARKS:
        if head.startswith(mark, offset):
            return found
    if head[:4] == b"RIFF" and head[8:12] in _RIFF:
        return _RIFF[head[8:12]]
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head[:2] in (b"\xff\xfb", b"\xff\xf3", b"\xff\xf2"):
        return "audio/mpeg"
    return _sniff_text(head)


def _sniff_text(head: bytes) -> str | None:
    if not head or head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "text/plain" if head else None
    if _BINARY.search(head):
        return None
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if re.search(rb"<svg[\s>:]", head, re.IGNORECASE):
        return "image/svg+xml"
    if _HTML.match(start) or re.search(rb"<(?:script|html|iframe|body)[\s>]", head, re.IGNORECASE):
        return "text/html"
    if start.startswith(b"<?xml"):
        return "application/xml"
    try:
        # The head may end within a character.
        head[:-3].decode("utf-8") if len(head) > 3 else head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 6:
            return None
    return "text/plain"


def guess(name: str, sniffed: str | None) -> str:
    """A type for an object that was uploaded without one: by its name, else by its bytes."""
    by_name = mimetypes.guess_type(name, strict=True)[0]
    return by_name or sniffed or DEFAULT_TYPE
