"""Every endpoint, in one table. `{documents}` stands for both forms of a database's documents:

    /api/v1/projects/{project}/documents                            the database `(default)`
    /api/v1/projects/{project}/databases/{database}/documents       any other

Routes below `{documents}` are dispatched by hand (see `face`), the rest by Starlette. The OpenAPI
description is made from this table and `schemas`; tests hold the three together.
"""

# ruff: noqa: E501 - a table is read by its columns
from __future__ import annotations

from functools import cache

import orjson

from baas.http import (
    accounts,
    admin,
    aggregations,
    backups,
    denials,
    documents,
    history,
    indexes,
    jobs,
    moves,
    names,
    objects,
    objects_uploads,
    pages,
    queries,
    retention,
    rules,
    rules_batches,
    rules_trials,
    schemas_deployed,
    transactions,
    transfer,
    ttl,
)
from baas.http.answers import Answer
from baas.http.authentication import Access
from baas.http.description import describe
from baas.http.paths import OBJECTS, UPLOADS
from baas.http.requests import Request
from baas.http.route import BYTES, Route

_D = "{documents}"
_P = "/api/v1/projects/{project}"
_O, _U = OBJECTS, UPLOADS
_A = "/api/v1/admin"
_M = _A + "/projects/{project}"
_CALLER, _KEY, _USER = Access.CALLER, Access.API_KEY, Access.USER
_PUBLIC, _ADMIN = Access.PUBLIC, Access.ADMIN


async def get_description(request: Request) -> Answer:
    """The OpenAPI description, made from the table below."""
    return Answer(_description())


# fmt: off
ROUTES: tuple[Route, ...] = (
    # Documents
    Route("POST", _D + ":bulk-write", documents.bulk_write, _CALLER, "Write many documents, each of which succeeds or fails alone", "BulkWriteBody", "BulkWriteAnswer"),
    Route("GET", _D + "/{collection}/{id}", documents.get_document, _CALLER, "Get a document, as it is or as it was", None, "Document", ("read_time", "select"), is_prompt=True),
    Route("PUT", _D + "/{collection}/{id}", documents.set_document, _CALLER, "Set a document: replace it, or merge", "SetBody", "Written", is_prompt=True),
    Route("PATCH", _D + "/{collection}/{id}", documents.update_document, _CALLER, "Update fields of a document that exists", "UpdateBody", "Written", is_prompt=True),
    Route("DELETE", _D + "/{collection}/{id}", documents.delete_document, _CALLER, "Delete a document", None, "Deleted", ("exists", "update_time"), is_prompt=True),
    Route("GET", _D + "/{collection}", documents.list_documents, _CALLER, "List documents by name", None, "DocumentList", ("page_size", "page_token", "total", "show_missing"), is_prompt=True, ends_with_client=True),
    Route("POST", _D + "/{collection}", documents.create_document, _CALLER, "Create a document", "CreateBody", "Written", ("id",), 201, is_prompt=True),
    Route("POST", _D + ":batch-get", documents.batch_get, _CALLER, "Get documents of one instant", "BatchGetBody", "BatchGetAnswer", is_prompt=True),
    Route("POST", _D + ":commit", documents.commit, _CALLER, "Commit writes, all or none", "CommitBody", "CommitAnswer", is_prompt=True),
    Route("POST", _D + ":begin-transaction", transactions.begin_transaction, _CALLER, "Begin a transaction", "BeginBody", "BeginAnswer"),
    Route("POST", _D + ":rollback", transactions.roll_back, _CALLER, "Give up a transaction", "RollbackBody", "Empty"),
    Route("POST", _D + ":query", queries.run_query, _CALLER, "Run a query", "QueryBody", "QueryAnswer", is_prompt=True, ends_with_client=True),
    Route("POST", _D + ":count", queries.count, _CALLER, "Count the documents of a query", "CountBody", "CountAnswer", is_prompt=True, ends_with_client=True),
    Route("POST", _D + ":list-collections", names.list_collection_ids, _CALLER, "List collections, with a secret key or as an administrator", "CollectionsBody", "CollectionsAnswer", ends_with_client=True),
    Route("POST", _D + ":aggregate", aggregations.aggregate, _CALLER, "Numbers of a query, or of groups of it, and its distinct values", "AggregateBody", "AggregateAnswer", ends_with_client=True),
    Route("POST", _D + ":delete-recursive", jobs.start_deletion, _CALLER, "Delete a document or collection with all below, as a job, with a secret key or as an administrator; not atomic", "DeleteRecursiveBody", "Job", (), 202),
    Route("POST", _D + ":update-by-query", jobs.start_update, _CALLER, "Update every document of a query, as a job, with a secret key or as an administrator; not atomic", "UpdateByQueryBody", "Job", (), 202),
    Route("GET", _P + "/jobs", jobs.list_own_jobs, _CALLER, "List jobs that secret keys have begun, or all as an administrator, newest first", None, "JobList"),
    Route("POST", _P + "/jobs/{id}:cancel", jobs.cancel_own_job, _CALLER, "End a job after the chunk that it is at, with a secret key or as an administrator", None, "Job"),
    Route("GET", _P + "/jobs/{id}", jobs.get_own_job, _CALLER, "One job, with its progress, with a secret key or as an administrator", None, "Job"),
    # Objects
    Route("GET", _O, objects.list_objects, _CALLER, "List objects by prefix", None, "ObjectList", ("prefix", "delimiter", "page_size", "page_token")),
    Route("PUT", _O + "/{name}", objects.put_object, _CALLER, "Upload an object", BYTES, "ObjectInfo", ("signature",), is_prompt=True, takes_its_time=True),
    Route("GET", _O + "/{name}", objects.get_object, _CALLER, "Download an object, or a range of it", None, BYTES, ("download", "thumbnail", "signature"), is_prompt=True),
    Route("DELETE", _O + "/{name}", objects.delete_object, _CALLER, "Delete an object", None, "Empty"),
    Route("GET", _O + "/{name}:metadata", objects.get_object_metadata, _CALLER, "The metadata of an object", None, "ObjectInfo"),
    Route("PATCH", _O + "/{name}:metadata", objects.update_object, _CALLER, "Change the metadata of an object", "ObjectChange", "ObjectInfo"),
    Route("POST", _O + "/{name}:copy", objects.copy_object, _CALLER, "Copy an object", "ObjectCopy", "ObjectInfo", takes_its_time=True),
    Route("POST", _O + "/{name}:sign", objects.sign_object, _CALLER, "Sign a URL for one request", "SignBody", "SignedUrl"),
    Route("POST", _O + "/{name}:upload", objects_uploads.start_upload, _CALLER, "Start a resumable upload", "UploadStart", "Upload"),
    Route("PATCH", _U + "/{upload}", objects_uploads.append_upload, _CALLER, "Send bytes of an upload, from `Upload-Offset` on", BYTES, "Upload", takes_its_time=True),
    Route("GET", _U + "/{upload}", objects_uploads.get_upload, _CALLER, "How far an upload has come", None, "Upload"),
    Route("DELETE", _U + "/{upload}", objects_uploads.abort_upload, _CALLER, "Give up an upload", None, "Empty"),
    Route("POST", _U + "/{upload}:finish", objects_uploads.finish_upload, _CALLER, "Make the object of an upload", "UploadFinish", "ObjectInfo", takes_its_time=True),
    # Accounts
    Route("POST", _P + "/accounts:sign-up", accounts.sign_up, _KEY, "Sign up with e-mail and password", "Credentials", "Session", (), 201),
    Route("POST", _P + "/accounts:sign-in", accounts.sign_in, _KEY, "Sign in with e-mail and password", "Credentials", "Session"),
    Route("POST", _P + "/accounts:refresh", accounts.refresh, _KEY, "Exchange a refresh token for fresh tokens", "RefreshBody", "Session"),
    Route("POST", _P + "/accounts:sign-out", accounts.sign_out, _KEY, "End a session", "RefreshBody", "Empty"),
    Route("GET", _P + "/accounts/me", accounts.get_me, _USER, "The signed-in user", None, "User"),
    Route("GET", _P + "/accounts/jwks.json", accounts.get_jwks, _PUBLIC, "The keys that verify id tokens", None, "Jwks"),
    # Administration: administrators
    Route("POST", _A + "/setup", admin.set_up, _PUBLIC, "Make the first administrator, with the one-time token", "SetupBody", "AdminSession", (), 201),
    Route("POST", _A + "/sign-in", admin.sign_in_admin, _PUBLIC, "Sign in as an administrator", "Credentials", "AdminSession"),
    Route("POST", _A + "/sign-out", admin.sign_out_admin, _ADMIN, "End the administrator's session", None, "Empty"),
    Route("GET", _A + "/me", admin.get_admin, _ADMIN, "The signed-in administrator", None, "Admin"),
    Route("GET", _A + "/admins", admin.list_admins, _ADMIN, "List administrators", None, "AdminList"),
    Route("POST", _A + "/admins", admin.create_admin, _ADMIN, "Make another administrator", "Credentials", "Admin", (), 201),
    Route("POST", _A + "/data:new-incarnation", admin.start_incarnations, _ADMIN, "After data was copied back: make all listeners of all databases begin anew", None, "Incarnations", takes_its_time=True),
    # Administration: projects
    Route("GET", _A + "/projects", admin.list_projects, _ADMIN, "List projects", None, "ProjectList"),
    Route("POST", _M + ":move", moves.start_move, _ADMIN, "Move a project to another engine while it is used, as a task", "MoveBody", "Move", (), 202),
    Route("POST", _A + "/projects", admin.create_project, _ADMIN, "Create a project", "ProjectBody", "Project", (), 201),
    Route("GET", _M, admin.get_project, _ADMIN, "One project", None, "Project"),
    Route("PATCH", _M, admin.update_project, _ADMIN, "Change a project's name or origins", "ProjectChange", "Project"),
    Route("DELETE", _M, admin.delete_project, _ADMIN, "Delete a project with everything in it", None, "Empty", takes_its_time=True),
    Route("GET", _M + "/keys", admin.list_keys, _ADMIN, "List API keys", None, "ApiKeyList"),
    Route("POST", _M + "/keys", admin.create_key, _ADMIN, "Make an API key; a secret one is shown only now", "ApiKeyBody", "ApiKey", (), 201),
    Route("DELETE", _M + "/keys/{id}", admin.revoke_key, _ADMIN, "Revoke an API key", None, "Empty"),
    Route("GET", _M + "/databases", admin.list_databases, _ADMIN, "List databases", None, "DatabaseList"),
    Route("POST", _M + "/databases", admin.create_database, _ADMIN, "Create a database", "DatabaseBody", "Database", (), 201),
    Route("GET", _M + "/databases/{database}/collections", admin.list_collections, _ADMIN, "List collection ids", None, "CollectionList", ("parent",)),
    Route("GET", _M + "/databases/{database}/indexes", indexes.list_indexes, _ADMIN, "List indexes", None, "IndexList", ("collection", "page_size", "page_token")),
    Route("POST", _M + "/databases/{database}/indexes", indexes.build_index, _ADMIN, "Build an index, and keep it", "IndexBody", "Index", (), 201),
    Route("PATCH", _M + "/databases/{database}/indexes/{id}", indexes.pin_index, _ADMIN, "Keep an index however idle, or not", "IndexChange", "Index"),
    Route("DELETE", _M + "/databases/{database}/indexes/{id}", indexes.drop_index, _ADMIN, "Drop an index", None, "Empty"),
    Route("GET", _M + "/databases/{database}/documents:export", transfer.export_documents, _ADMIN, "Export documents as JSON lines", None, None, ("collection", "version", "after", "end"), takes_its_time=True),
    Route("POST", _M + "/databases/{database}/documents:delete-recursive", jobs.delete_recursive, _ADMIN, "Delete a document or collection with all below, as a job; not atomic", "DeleteRecursiveBody", "Job", (), 202),
    Route("POST", _M + "/databases/{database}/documents:update-by-query", jobs.update_by_query, _ADMIN, "Update every document of a query, as a job; not atomic", "UpdateByQueryBody", "Job", (), 202),
    Route("GET", _M + "/databases/{database}/documents:history", history.list_versions, _ADMIN, "List the versions of a document, newest first", None, "VersionList", ("path", "page_size", "page_token")),
    Route("POST", _M + "/databases/{database}/documents:plan-restore", history.plan_restore, _ADMIN, "What a restore would change", "RestorePlanBody", "RestorePlan", takes_its_time=True),
    Route("POST", _M + "/databases/{database}/documents:restore", history.restore, _ADMIN, "Restore a document or a collection to an earlier time, as a job; not atomic", "RestoreBody", "Job", (), 202),
    Route("POST", _M + "/databases/{database}/documents:erase", history.erase, _ADMIN, "Erase what a document was, and if asked what it is", "EraseBody", "Erasure", takes_its_time=True),
    Route("POST", _M + "/databases/{database}/documents:batch-erase", history.batch_erase, _ADMIN, "Erase what several documents were, and if asked what they are", "BatchEraseBody", "ErasureList", takes_its_time=True),
    Route("POST", _M + "/databases/{database}/documents:erase-by-query", jobs.erase_by_query, _ADMIN, "Erase what every document of a query was, and if asked what it is, as a job; not atomic", "EraseByQueryBody", "Job", (), 202),
    Route("GET", _M + "/databases/{database}/erasures", history.list_erasures, _ADMIN, "List what was erased, newest first", None, "ErasurePage", ("page_size", "page_token")),
    Route("GET", _M + "/databases/{database}/ttl", ttl.list_policies, _ADMIN, "List what expires", None, "TtlPolicyList"),
    Route("PUT", _M + "/databases/{database}/ttl", ttl.replace_policies, _ADMIN, "Put policies of expiry in the place of all, all or none", "TtlPoliciesBody", "TtlDeployment"),
    Route("PUT", _M + "/databases/{database}/ttl/{collection}", ttl.set_policy, _ADMIN, "Let documents of a collection group expire at the time in a field", "TtlBody", "TtlPolicy", (), 201),
    Route("DELETE", _M + "/databases/{database}/ttl/{collection}", ttl.delete_policy, _ADMIN, "Let documents expire no more", None, "Empty"),
    Route("GET", _M + "/databases/{database}/retention", retention.get_retention, _ADMIN, "How far back history reaches, and what is kept", None, "Retention"),
    Route("PUT", _M + "/databases/{database}/retention", retention.set_retention, _ADMIN, "Say how far back the history of a database reaches", "RetentionBody", "Retention"),
    Route("GET", _M + "/retention", retention.get_project_retention, _ADMIN, "How far back the histories of a project's databases reach that say nothing themselves", None, "ProjectRetention"),
    Route("PUT", _M + "/retention", retention.set_project_retention, _ADMIN, "Say how far back the histories of a project's databases reach", "RetentionBody", "ProjectRetention"),
    Route("GET", _M + "/jobs", jobs.list_jobs, _ADMIN, "List jobs, newest first", None, "JobList"),
    Route("POST", _M + "/jobs/{id}:cancel", jobs.cancel_job, _ADMIN, "End a job after the chunk that it is at", None, "Job"),
    Route("GET", _M + "/jobs/{id}", jobs.get_job, _ADMIN, "One job, with its progress", None, "Job"),
    Route("POST", _M + "/databases/{database}/documents:import", transfer.import_documents, _ADMIN, "Import documents from JSON lines", None, "ImportAnswer", ("skip_lines",), takes_its_time=True),
    Route("GET", _M + "/buckets", objects.list_buckets, _ADMIN, "List buckets", None, "BucketList"),
    Route("POST", _M + "/buckets", objects.create_bucket, _ADMIN, "Create a bucket", "BucketBody", "Bucket", (), 201),
    Route("POST", _M + "/buckets:revoke-signed-urls", objects.revoke_signed_urls, _ADMIN, "End all signed URLs of the project", None, "Empty"),
    Route("DELETE", _M + "/buckets/{bucket}", objects.delete_bucket, _ADMIN, "Delete a bucket, empty or with its objects", None, "Empty", ("recursive",), takes_its_time=True),
    # Administration: rules and users
    Route("GET", _M + "/rules", rules.get_rules, _ADMIN, "The rules in force", None, "Rules"),
    Route("PUT", _M + "/rules", rules.deploy_rules, _ADMIN, "Deploy rules", "RulesBody", "Rules"),
    Route("POST", _M + "/rules:check", rules.check_rules, _ADMIN, "Check rules without deploying them", "RulesSource", "RulesDiagnostics"),
    Route("POST", _M + "/rules:explain", rules_trials.explain_rules, _ADMIN, "Try a request on rules, with every step of the decision", "RulesTrial", "RulesTrialAnswer"),
    Route("POST", _M + "/rules:explain-batch", rules_batches.explain_rules_of_batch, _ADMIN, "Try several writes of one commit on rules, with every step of each decision", "RulesBatch", "RulesBatchAnswer"),
    Route("POST", _M + "/rules:test", rules_trials.test_rules, _ADMIN, "Run tests of rules", "RulesTests", "RulesTestRun"),
    Route("POST", _M + "/rules:rollback", rules.roll_back_rules, _ADMIN, "Deploy the rules of an old release again", "RulesRollback", "Rules"),
    Route("GET", _M + "/rules:diff", rules.diff_releases, _ADMIN, "What changed between two releases", None, "RulesDiff", ("from", "to")),
    Route("GET", _M + "/rules:audit", rules.audit_rules, _ADMIN, "What strangers could do to the live data, line by line", None, None, ("sample",), takes_its_time=True),
    Route("GET", _M + "/rules/releases", rules.list_releases, _ADMIN, "Releases of rules, newest first", None, "ReleaseList", ("page_size", "page_token")),
    Route("GET", _M + "/rules/releases/{id}", rules.get_release, _ADMIN, "A release of rules, with its source", None, "PastRelease"),
    Route("GET", _M + "/schemas", schemas_deployed.get_schemas, _ADMIN, "The schemas in force", None, "SchemaRelease"),
    Route("PUT", _M + "/schemas", schemas_deployed.deploy_schemas, _ADMIN, "Deploy schemas, in place of all that are in force", "SchemasBody", "SchemaRelease"),
    Route("POST", _M + "/schemas:deploy", schemas_deployed.start_deployment, _ADMIN, "Deploy schemas, as a job, or only look at what is stored", "SchemaDeploymentBody", "Job", (), 202),
    Route("POST", _M + "/schemas:diff", schemas_deployed.diff_schemas, _ADMIN, "What deploying schemas would change", "SchemasDiffBody", "SchemasDiff"),
    Route("GET", _M + "/schemas:diff", schemas_deployed.diff_schema_releases, _ADMIN, "What changed between two releases of schemas", None, "SchemasDiff", ("from", "to")),
    Route("GET", _M + "/schemas/releases", schemas_deployed.list_schema_releases, _ADMIN, "Releases of schemas, newest first", None, "SchemaReleaseList"),
    Route("GET", _M + "/schemas/releases/{id}", schemas_deployed.get_schema_release, _ADMIN, "A release of schemas", None, "SchemaRelease"),
    Route("POST", _M + "/databases/{database}/schemas:check", schemas_deployed.check_documents, _ADMIN, "Check stored documents against schemas, slice by slice", "SchemaCheckBody", "SchemaCheckPage"),
    Route("GET", _M + "/denials", denials.list_denials, _ADMIN, "Denials by rules and why, newest first", None, "DenialList", ("request_id", "path", "uid", "method", "page_size", "page_token")),
    Route("GET", _M + "/users", admin.list_users, _ADMIN, "List users, or find one by e-mail address", None, "UserList", ("page_size", "page_token", "email")),
    Route("POST", _M + "/users", admin.create_user, _ADMIN, "Make a user", "Credentials", "User", (), 201),
    Route("GET", _M + "/users/{uid}", admin.get_user, _ADMIN, "One user", None, "User"),
    Route("PATCH", _M + "/users/{uid}", admin.update_user, _ADMIN, "Disable or enable a user", "UserChange", "User"),
    Route("DELETE", _M + "/users/{uid}", admin.delete_user, _ADMIN, "Delete a user", None, "Empty"),
    # Administration: backups
    Route("GET", _A + "/backups", backups.list_backups, _ADMIN, "List backups, newest first", None, "BackupList", ("page_size", "page_token")),
    Route("POST", _A + "/backups", backups.create_backup, _ADMIN, "Back up a project or the whole server, as a task", "BackupBody", "BackupTask", (), 202),
    Route("POST", _A + "/backups/{id}:verify", backups.verify_backup, _ADMIN, "Read all of a backup and compare it, as a task", None, "BackupTask", (), 202),
    Route("POST", _A + "/backups/{id}:restore", backups.restore_backup, _ADMIN, "Make projects from a backup, as a task", "BackupRestoreBody", "BackupTask", (), 202),
    Route("GET", _A + "/backups/{id}", backups.get_backup, _ADMIN, "One backup", None, "Backup"),
    Route("DELETE", _A + "/backups/{id}", backups.delete_backup, _ADMIN, "Delete a backup, as a task", None, "BackupTask", (), 202),
    Route("GET", _A + "/backup-tasks", backups.list_backup_tasks, _ADMIN, "List tasks on backups, newest first", None, "BackupTaskList"),
    Route("POST", _A + "/backup-tasks/{id}:cancel", backups.cancel_backup_task, _ADMIN, "End a task on backups", None, "BackupTask"),
    Route("GET", _A + "/backup-tasks/{id}", backups.get_backup_task, _ADMIN, "One task on backups, with its progress", None, "BackupTask"),
    Route("GET", _A + "/backup-schedules", backups.list_backup_schedules, _ADMIN, "List when backups are made", None, "BackupScheduleList"),
    Route("PUT", _A + "/backup-schedules", backups.set_backup_schedule, _ADMIN, "Have backups made again and again", "BackupScheduleBody", "BackupSchedule"),
    Route("DELETE", _A + "/backup-schedules", backups.delete_backup_schedule, _ADMIN, "Have no more backups made", None, "Empty", ("project",)),
    # Administration: moves between engines
    Route("GET", _A + "/moves", moves.list_moves, _ADMIN, "List moves of projects, newest first", None, "MoveList"),
    Route("POST", _A + "/moves/{id}:cancel", moves.cancel_move, _ADMIN, "Leave the project where it is", None, "Move"),
    Route("GET", _A + "/moves/{id}", moves.get_move, _ADMIN, "One move, with its progress", None, "Move"),
    # The server
    Route("GET", "/healthz", pages.get_health, _PUBLIC, "The process is alive", None, "Health"),
    Route("GET", "/readyz", pages.get_readiness, _PUBLIC, "The server takes requests", None, "Health"),
    Route("GET", "/openapi.json", get_description, _PUBLIC, "This description", None, None),
    Route("GET", "/docs", pages.get_docs, _PUBLIC, "The description as a page", None, None),
    Route("GET", "/docs/{asset}", pages.get_docs_asset, _PUBLIC, "Script and style of the page", None, None),
    Route("GET", "/", pages.get_root, _PUBLIC, "To the console", None, None),
    Route("GET", "/console", pages.get_console_root, _PUBLIC, "To the console", None, None),
    Route("GET", "/console/{asset:path}", pages.get_console, _PUBLIC, "The administrator's console", None, None),
)
# fmt: on


@cache
def _description() -> bytes:
    return orjson.dumps(describe(ROUTES))
