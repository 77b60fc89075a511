"""JSON Schemas of backups."""

from __future__ import annotations

from baas.http.schema_parts import TEXT, TIME, Schema, list_of, object_of, or_null, ref

_COUNT: Schema = {"type": "integer", "minimum": 0}
_PROJECT: Schema = {**or_null(TEXT), "description": "null for the whole server"}
_KEEP: Schema = {
    "keep_last": {**_COUNT, "description": "so many of the newest backups are kept"},
    "keep_daily": {**_COUNT, "description": "and the newest one of each of so many days"},
    "keep_weekly": {**_COUNT, "description": "and of each of so many weeks"},
}
_EVERY: Schema = {"type": "integer", "minimum": 60, "description": "from one start to the next"}

BACKUPS: dict[str, Schema] = {
    "BackupBody": object_of({}, {"project": _PROJECT}),
    "Backup": object_of(
        {"id": TEXT, "problem": {**or_null(TEXT), "description": "why it cannot be read"}},
        {
            "created": TIME,
            "finished": TIME,
            "project": _PROJECT,
            "projects": list_of(TEXT),
            "scheduled": {"type": "boolean"},
            "software": {**TEXT, "description": "the version of the server that made it"},
            "databases": list_of(
                object_of(
                    {
                        "project": TEXT,
                        "database": TEXT,
                        "version": {"type": "integer"},
                        "read_time": {**TIME, "description": "the instant that it shows"},
                        "documents": _COUNT,
                    }
                )
            ),
            "documents": _COUNT,
            "document_bytes": _COUNT,
            "objects": _COUNT,
            "object_bytes": _COUNT,
        },
    ),
    "BackupList": object_of({"backups": list_of(ref("Backup"))}, {"next_page_token": TEXT}),
    "BackupRestoreBody": object_of(
        {},
        {
            "project": {**or_null(TEXT), "description": "one of the backup; null for all"},
            "as": {**or_null(TEXT), "description": "the id that it gets; null for its own"},
            "new_keys": {
                "type": "boolean",
                "description": "leave signing keys behind: for another secret key",
            },
        },
    ),
    "BackupTask": object_of(
        {
            "id": TEXT,
            "kind": {"enum": ["backup", "verify", "restore", "delete"]},
            "backup": TEXT,
            "project": _PROJECT,
            "as": or_null(TEXT),
            "scheduled": {"type": "boolean"},
            "state": {"enum": ["running", "done", "cancelled", "failed"]},
            "error": {**or_null(TEXT), "description": "why it failed, or waits for a while"},
            "reason": or_null(TEXT),
            "notes": list_of(TEXT),
            "restored": {**list_of(TEXT), "description": "projects that are there by now"},
            "author": or_null(TEXT),
            "created": TIME,
            "updated": TIME,
            "progress": object_of(
                {
                    "documents": {**_COUNT, "description": "and objects"},
                    "bytes": _COUNT,
                    "total_documents": or_null(_COUNT),
                    "total_bytes": or_null(_COUNT),
                }
            ),
        }
    ),
    "BackupTaskList": object_of({"tasks": list_of(ref("BackupTask"))}),
    "BackupScheduleBody": object_of({"every_seconds": _EVERY}, {"project": _PROJECT, **_KEEP}),
    "BackupSchedule": object_of(
        {
            "project": _PROJECT,
            "every_seconds": _EVERY,
            **_KEEP,
            "started": or_null(TIME),
            "ended": or_null(TIME),
            "succeeded": {**or_null(TIME), "description": "the end of the last good one"},
            "error": {**or_null(TEXT), "description": "why the last one failed"},
            "problem": {
                **or_null(TEXT),
                "description": "that it failed, or that none was made for too long",
            },
        }
    ),
    "BackupScheduleList": object_of({"schedules": list_of(ref("BackupSchedule"))}),
}
