"""Names of buckets and objects, and where their metadata is kept in a project's system database.

buckets/{bucket}                        a bucket
buckets/{bucket}/objects/{id}           an object: `object_id` of its name, so that the order of
                                        the documents is the order of the names' UTF-8 bytes
contents/{content}                      stored bytes: their parts, and how many objects share them
uploads/{upload}                        a resumable upload in progress
finished_uploads/{upload}               what became of one, so that finishing it can be repeated
garbage/{time}-{content}                stored bytes that nothing refers to any more

Object names never touch a file system, and documents' paths only through `object_id`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from baas.errors import InvalidArgument, NotFound
from baas.model.paths import CollectionPath, DocumentPath

DEFAULT_BUCKET = "default"
NAME_BYTES_MAX = 1_024
NAME_SEGMENTS_MAX = 90  # rules match paths of up to 100 segments, `/b/{bucket}/o` included
BUCKETS = CollectionPath(("buckets",))
CONTENTS = CollectionPath(("contents",))
UPLOADS = CollectionPath(("uploads",))
FINISHED_UPLOADS = CollectionPath(("finished_uploads",))
GARBAGE = CollectionPath(("garbage",))
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{2,62}", re.ASCII)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\U0010ffff]")
# In front of every id, so that no name is taken for a numeric id (`__id7__`).
_MARK = "="
_END_OF_PREFIX = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class BucketName:
    """One bucket of one project."""

    project: str
    bucket: str

    @property
    def path(self) -> DocumentPath:
        return BUCKETS.document(self.bucket)

    @property
    def objects(self) -> CollectionPath:
        return self.path.child("objects")

    def object_path(self, name: str) -> DocumentPath:
        """Where an object's metadata is kept. `name` is one that was checked."""
        return self.objects.document(object_id(name))


def check_bucket_id(bucket: object) -> str:
    """Raises InvalidArgument (`InvalidBucketId`)."""
    if not isinstance(bucket, str) or not _BUCKET.fullmatch(bucket):
        shown = bucket[:80] if isinstance(bucket, str) else type(bucket).__name__
        raise InvalidArgument(
            f"bucket id `{shown}` is not allowed: 3 to 63 lower-case letters, digits, dots, "
            "hyphens and underscores, starting with a letter or digit",
            reason="InvalidBucketId",
        )
    return bucket


def check_object_name(name: object) -> str:
    """Raises InvalidArgument (`InvalidObjectName`) that says what is wrong with the name."""
    if not isinstance(name, str) or not name:
        raise _invalid_name("an object's name must not be empty")
    if len(name) > NAME_BYTES_MAX or len(name.encode("utf-8", "replace")) > NAME_BYTES_MAX:
        raise _invalid_name(f"an object's name has at most {NAME_BYTES_MAX} bytes in UTF-8")
    if _CONTROL.search(name):
        raise _invalid_name("an object's name must not hold control characters")
    segments = name.split("/")
    if "" in segments:
        raise _invalid_name(
            "an object's name must neither begin nor end with `/`, nor hold `//` within"
        )
    if "." in segments or ".." in segments:
        # Browsers and proxies take them out of addresses, so nobody could reach the object.
        raise _invalid_name("no part of an object's name between slashes may be `.` or `..`")
    if len(segments) > NAME_SEGMENTS_MAX:
        raise _invalid_name(f"an object's name has at most {NAME_SEGMENTS_MAX} parts")
    return name


def check_prefix(prefix: str) -> str:
    """The beginning of names, such as `a/b/` or `a/b`. Raises InvalidArgument (`InvalidPrefix`)."""
    if len(prefix.encode("utf-8", "replace")) > NAME_BYTES_MAX or _CONTROL.search(prefix):
        raise InvalidArgument(
            f"`prefix` has at most {NAME_BYTES_MAX} bytes and no control characters",
            reason="InvalidPrefix",
            details={"field": "prefix"},
        )
    return prefix


def object_id(name: str) -> str:
    """A document id in the order of the names' UTF-8 bytes, without the slash that none may hold:
    `.` and `/`, which are neighbours, become `.` and a second character."""
    return _MARK + name.replace(".", ".\x01").replace("/", ".\x02")


def object_name(identifier: str) -> str:
    """The inverse of `object_id`."""
    return identifier[1:].replace(".\x02", "/").replace(".\x01", ".")


def prefix_end(prefix: str) -> str:
    """An id behind those of all names that begin with `prefix`."""
    return object_id(prefix) + _END_OF_PREFIX


def bucket_not_found(bucket: str) -> NotFound:
    return NotFound(f"there is no bucket `{bucket[:80]}`", reason="BucketNotFound")


def object_not_found(name: str) -> NotFound:
    return NotFound(f"there is no object `{name[:200]}`", reason="ObjectNotFound")


def _invalid_name(message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="InvalidObjectName", details={"field": "name"})
