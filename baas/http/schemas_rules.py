"""JSON Schemas of rules: releases, trials, denials, the audit."""

from __future__ import annotations

from baas.http.schema_parts import FIELDS, TEXT, TIME, Schema, list_of, object_of, or_null, ref

_DIAGNOSTIC: Schema = object_of(
    {
        "severity": {"type": "string", "enum": ["error", "warning"]},
        "message": TEXT,
        "line": {"type": "integer"},
        "column": {"type": "integer"},
        "end_column": {"type": "integer"},
        "hint": {"type": ["string", "null"]},
        "code": {
            **or_null(TEXT),
            "description": "of what lint found",
            "examples": ["never-holds"],
        },
        "snippet": TEXT,
    }
)
_RELEASE_NOTE: Schema = {
    "deployed_at": or_null(TIME),
    "author": {**or_null(TEXT), "description": "an administrator's e-mail, or `operator`"},
    "message": TEXT,
    "rollback_of": {**or_null(TEXT), "description": "the release whose rules were taken"},
}
_RELEASE: Schema = object_of({"release": TEXT, **_RELEASE_NOTE, "in_force": {"type": "boolean"}})
_DEPLOYMENT: Schema = {
    "message": {"type": "string", "maxLength": 1_000, "description": "kept with the release"},
    "allow_open": {
        "type": "boolean",
        "default": False,
        "description": "deploy even rules that let everybody in",
    },
    "if_release": {**TEXT, "description": "only if this release is the one in force"},
}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_AUDITED: Schema = {
    "service": {"enum": ["cloud.firestore", "firebase.storage"]},
    "place": {**TEXT, "description": "the database or the bucket"},
    "path": {**TEXT, "description": "a pattern", "examples": ["users/{id}/notes/{id}"]},
}
_AUDIT_FINDING: Schema = object_of(
    {
        "caller": {"enum": ["anonymous", "user"]},
        **_AUDITED,
        "method": {"enum": ["get", "list", "create", "update", "delete"]},
        "allowed": {**_COUNT, "description": "of those that were tried"},
        "tried": _COUNT,
        "example": TEXT,
    }
)
_PLACE: Schema = {"line": _COUNT, "column": _COUNT}
_LOOKUP: Schema = {
    "path": TEXT,
    "database": {**or_null(TEXT), "description": "null: the request's own"},
    "after": {"type": "boolean", "description": "as it would be after the commit"},
}
_DENIAL: Schema = object_of(
    {
        "request_id": {**TEXT, "description": "the only thing that the caller was told"},
        "time": TIME,
        "service": {"enum": ["cloud.firestore", "firebase.storage"]},
        "place": {**TEXT, "description": "the database or the bucket"},
        "method": {"enum": ["get", "list", "create", "update", "delete"]},
        "path": TEXT,
        "caller": {"enum": ["anonymous", "user"]},
        "uid": or_null(TEXT),
        "release": {**or_null(TEXT), "description": "the rules that denied"},
        "attempts": {**list_of(ref("RulesAttempt")), "description": "the first of them"},
        "reasons": list_of(ref("RulesReason")),
        "lookups": list_of(object_of({**_LOOKUP, "exists": {"type": "boolean"}})),
        "explanation": {**TEXT, "description": "every step, for people"},
        "expressions": {**_COUNT, "description": "what the evaluation cost"},
    }
)
_REACHED: Schema = object_of(
    {
        "text": TEXT,
        **_PLACE,
        "true": {**_COUNT, "description": "how often; of a statement, how often it granted"},
        "false": _COUNT,
        "error": _COUNT,
        "other": _COUNT,
        "gap": {**or_null(TEXT), "description": "what the tests have not shown of it"},
    }
)
_CALLER: Schema = or_null(
    object_of(
        {},
        {
            "user": {**TEXT, "description": "a user's uid or e-mail address"},
            "uid": {**TEXT, "description": "or anybody"},
            "claims": {"type": "object", "description": "besides those of every token"},
        },
    )
)
_BEFORE: Schema = {
    **or_null(FIELDS),
    "description": "fields, or an object's metadata, in place of what is stored; null: there is "
    "none",
}
_GIVEN: Schema = {
    "type": "object",
    "additionalProperties": or_null(FIELDS),
    "description": "paths to fields, in place of what is stored; null: there is none",
}
_TOLD: Schema = {
    "attempts": {
        **list_of(ref("RulesAttempt")),
        "description": "the allow statements that name the method, in matches of the path",
    },
    "reasons": list_of(ref("RulesReason")),
    "lookups": list_of(object_of({**_LOOKUP, "fields": or_null(FIELDS)})),
    "expressions": {**_COUNT, "description": "what the evaluation cost"},
}
_AUTH: Schema = or_null(object_of({"uid": TEXT, "token": {"type": "object"}}))

RULES: dict[str, Schema] = {
    "Rules": object_of({"source": TEXT, "ruleset": TEXT, **_RELEASE_NOTE}),
    "RulesSource": object_of({"source": TEXT}),
    "RulesBody": object_of({"source": TEXT}, _DEPLOYMENT),
    "RulesRollback": object_of({"release": TEXT}, _DEPLOYMENT),
    "RulesDiff": object_of(
        {"from": TEXT, "to": TEXT, "diff": {**TEXT, "description": "unified; empty if alike"}}
    ),
    "Denial": _DENIAL,
    "DenialList": object_of(
        {
            "denials": list_of(ref("Denial")),
            "counts": object_of(
                {"denied": _COUNT, "unexplained": _COUNT, "dropped": _COUNT},
                description="since the server's start; unexplained ones were past the budget",
            ),
        },
        {"next_page_token": TEXT},
    ),
    "AuditLine": {
        "oneOf": [
            object_of({"progress": object_of(_AUDITED)}),
            object_of({"finding": _AUDIT_FINDING}),
            object_of(
                {
                    "done": object_of(
                        {"decisions": _COUNT, "findings": _COUNT, "complete": {"type": "boolean"}}
                    )
                }
            ),
            ref("Error"),
        ],
        "description": "one object per line: what is looked at, what was found, then the end",
    },
    "ReleaseItem": _RELEASE,
    "ReleaseList": object_of({"releases": list_of(ref("ReleaseItem"))}, {"next_page_token": TEXT}),
    "PastRelease": object_of({**_RELEASE["properties"], "source": TEXT}),
    "RulesDiagnostics": object_of({"diagnostics": list_of(_DIAGNOSTIC)}),
    "RulesTrial": object_of(
        {"method": {"enum": ["get", "list", "create", "update", "delete"]}},
        {
            "source": {**TEXT, "description": "a draft; without it, the rules in force"},
            "service": {"enum": ["documents", "objects"], "default": "documents"},
            "database": {**TEXT, "default": "(default)"},
            "bucket": {**TEXT, "description": "of objects"},
            "path": {**TEXT, "description": "a document, an object, or a prefix of objects"},
            "query": ref("Query"),
            "by_folder": {"type": "boolean", "description": "list objects with a delimiter"},
            "caller": _CALLER,
            "before": _BEFORE,
            "after": {**or_null(FIELDS), "description": "what is to be stored"},
            "documents": _GIVEN,
            "time": {**TIME, "description": "`request.time`; without it, now"},
        },
        examples=[{"method": "get", "path": "users/ada", "caller": {"uid": "ada"}}],
    ),
    "RulesTrialAnswer": object_of(
        {
            "allowed": {"type": "boolean"},
            "subject": {**TEXT, "examples": ["get of /users/ada"]},
            "release": {**or_null(TEXT), "description": "null: a draft was asked"},
            "time": TIME,
            "auth": _AUTH,
            "before": or_null(FIELDS),
            **_TOLD,
            "expressions_max": _COUNT,
        }
    ),
    "RulesBatch": object_of(
        {
            "writes": {
                **list_of(ref("RulesTrialWrite")),
                "description": "each of another document; at most 20",
            }
        },
        {
            "source": {**TEXT, "description": "a draft; without it, the rules in force"},
            "database": {**TEXT, "default": "(default)"},
            "caller": _CALLER,
            "documents": _GIVEN,
            "time": {**TIME, "description": "`request.time`; without it, now"},
        },
        examples=[
            {
                "writes": [
                    {"method": "create", "path": "orders/o1", "after": {"item": "i1"}},
                    {"method": "update", "path": "items/i1", "after": {"left": 4}},
                ],
                "caller": {"uid": "ada"},
            }
        ],
    ),
    "RulesTrialWrite": object_of(
        {
            "method": {
                "enum": ["create", "update", "delete", "get"],
                "description": "`get` is what a verify is to the rules",
            },
            "path": TEXT,
        },
        {
            "before": _BEFORE,
            "after": {**or_null(FIELDS), "description": "the document after the whole batch"},
        },
    ),
    "RulesBatchAnswer": object_of(
        {
            "allowed": {"type": "boolean", "description": "the commit of all of them"},
            "writes": list_of(
                object_of(
                    {
                        "allowed": {"type": "boolean"},
                        "subject": {**TEXT, "examples": ["create of /orders/o1"]},
                        "before": or_null(FIELDS),
                        **_TOLD,
                    }
                )
            ),
            "looked_up": {**_COUNT, "description": "documents that all grants together rest on"},
            "looked_up_max": {**_COUNT, "description": "more in one batch are denied"},
            "release": {**or_null(TEXT), "description": "null: a draft was asked"},
            "time": TIME,
            "auth": _AUTH,
            "expressions_max": _COUNT,
        }
    ),
    "RulesAttempt": object_of(
        {
            "match": TEXT,
            "line": _COUNT,
            "methods": list_of(TEXT),
            "captures": {"type": "object", "additionalProperties": TEXT},
            "outcome": {"enum": ["granted", "false", "error", "not proved", "not tried"]},
            "steps": list_of(ref("RulesStep")),
        }
    ),
    "RulesReason": object_of(
        {
            "message": TEXT,
            **_PLACE,
            "end_column": _COUNT,
            "hint": or_null(TEXT),
            "values": list_of(object_of({"text": TEXT, "value": TEXT})),
        }
    ),
    "RulesStep": object_of(
        {
            "depth": {**_COUNT, "description": "inside of the step before that has one less"},
            "text": TEXT,
            **_PLACE,
            "end_column": _COUNT,
            "value": {**or_null(TEXT), "description": "in the language's notation"},
            "error": or_null(TEXT),
        }
    ),
    "RulesTests": object_of(
        {"tests": {**TEXT, "description": "YAML, as `baas rules test` takes it"}},
        {"source": {**TEXT, "description": "a draft; without it, the rules in force"}},
    ),
    "RulesTestRun": object_of(
        {
            "release": or_null(TEXT),
            "passed": _COUNT,
            "failed": _COUNT,
            "not_run": {**_COUNT, "description": "left when the time was over"},
            "results": list_of(
                object_of(
                    {
                        "name": TEXT,
                        "line": _COUNT,
                        "passed": {"type": "boolean"},
                        "failure": or_null(TEXT),
                    }
                )
            ),
            "coverage": object_of(
                {
                    "percent": {"type": "number"},
                    "statements": list_of(_REACHED),
                    "expressions": list_of(_REACHED),
                }
            ),
        }
    ),
}
