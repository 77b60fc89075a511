"""JSON Schemas of buckets and objects."""

from __future__ import annotations

from baas.http.schema_parts import TEXT, TIME, Schema, list_of, object_of, or_null, ref

_OBJECT_NAME: Schema = {"type": "string", "examples": ["photos/ada.png"]}
_SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_METADATA: Schema = {"type": "object", "additionalProperties": TEXT}

OBJECTS: dict[str, Schema] = {
    "ObjectInfo": object_of(
        {
            "bucket": TEXT,
            "name": _OBJECT_NAME,
            "size": {"type": "integer", "minimum": 0},
            "content_type": TEXT,
            "sniffed_type": or_null(TEXT),
            "etag": TEXT,
            "sha256": _SHA256,
            "md5": or_null(TEXT),
            "metadata": _METADATA,
            "create_time": TIME,
            "update_time": TIME,
            "generation": {"type": "integer"},
        }
    ),
    "ObjectList": object_of(
        {"objects": list_of(ref("ObjectInfo")), "prefixes": list_of(TEXT)},
        {"next_page_token": TEXT},
    ),
    "ObjectChange": object_of({}, {"content_type": TEXT, "metadata": _METADATA}),
    "ObjectCopy": object_of({"to": _OBJECT_NAME}, {"bucket": TEXT}),
    "SignBody": object_of(
        {
            "method": {"enum": ["GET", "PUT"]},
            "expires_in": {"type": "integer", "minimum": 1, "maximum": 604_800},
        },
        {"content_type": TEXT, "size": {"type": "integer", "minimum": 0}},
    ),
    "SignedUrl": object_of({"url": TEXT, "expires_at": TIME}),
    "UploadStart": object_of(
        {},
        {
            "size": {"type": "integer", "minimum": 0},
            "content_type": TEXT,
            "metadata": _METADATA,
            "sha256": _SHA256,
        },
    ),
    "Upload": object_of(
        {"upload": TEXT, "offset": {"type": "integer"}, "expires_at": TIME},
        {"size": {"type": "integer"}},
    ),
    "UploadFinish": object_of({}, {"sha256": _SHA256}),
    "Bucket": object_of({"id": TEXT, "created": TIME}),
    "BucketBody": object_of({"id": {"type": "string", "examples": ["default"]}}),
    "BucketList": object_of({"buckets": list_of(ref("Bucket"))}),
}
