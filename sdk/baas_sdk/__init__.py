"""The Python client of baas: documents, live queries, accounts, files.

    from baas_sdk import Client, FieldFilter

    with Client("http://127.0.0.1:8080", project="demo", api_key="baas_pk_…") as client:
        client.collection("cities").document("zurich").set({"country": "CH", "population": 443037})

`AsyncClient` has the same methods, to be awaited.
"""

from baas_sdk._aggregations import (
    AggregationExplanation,
    AvgAggregation,
    CountAggregation,
    Group,
    MaximumAggregation,
    MinimumAggregation,
    QueryExplanation,
    SumAggregation,
)
from baas_sdk._bulk import BulkWriteFailure, BulkWriterOperation, BulkWriterOptions
from baas_sdk._flow import RetryPolicy
from baas_sdk._jobs import JobFailure, JobProgress, JobState
from baas_sdk._paths import FieldPath
from baas_sdk._queries import And, FieldFilter, Or
from baas_sdk._session import User
from baas_sdk._snapshots import (
    AggregationResult,
    ChangeType,
    DocumentChange,
    DocumentSnapshot,
    QuerySnapshot,
)
from baas_sdk._streams import AsyncBlobReader, AsyncBlobWriter, BlobReader, BlobWriter
from baas_sdk._transfers import TransferProgress
from baas_sdk._transforms import (
    DELETE_FIELD,
    SERVER_TIMESTAMP,
    ArrayRemove,
    ArrayUnion,
    Increment,
    Maximum,
    Minimum,
)
from baas_sdk._values import ForeignReference, GeoPoint, Vector
from baas_sdk._writes import WriteOption, WriteResult
from baas_sdk.async_bulk_writer import AsyncBulkWriter
from baas_sdk.async_client import (
    AsyncAggregationQuery,
    AsyncAuth,
    AsyncClient,
    AsyncCollectionGroup,
    AsyncCollectionReference,
    AsyncDocumentReference,
    AsyncGroupQuery,
    AsyncQuery,
    AsyncWriteBatch,
)
from baas_sdk.async_jobs import AsyncJob
from baas_sdk.async_listeners import AsyncListener, AsyncWatch
from baas_sdk.async_objects import AsyncBlob, AsyncBlobIterator, AsyncBucket
from baas_sdk.async_transactions import AsyncTransaction, async_transactional
from baas_sdk.bulk_writer import BulkWriter
from baas_sdk.client import (
    AggregationQuery,
    Auth,
    Client,
    CollectionGroup,
    CollectionReference,
    DocumentReference,
    GroupQuery,
    Query,
    WriteBatch,
)
from baas_sdk.errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    Code,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    InvalidPath,
    InvalidQuery,
    InvalidValue,
    NotFound,
    OutOfRange,
    PermissionDenied,
    QuotaExceeded,
    ResourceExhausted,
    ResumeTokenExpired,
    RulesetRejected,
    SchemaRejected,
    SdkError,
    TokenExpired,
    TokenInvalid,
    TooManyListeners,
    TransactionConflict,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from baas_sdk.jobs import Job
from baas_sdk.listeners import Listener, Watch
from baas_sdk.objects import Blob, BlobIterator, Bucket
from baas_sdk.transactions import Transaction, transactional

ASCENDING = Query.ASCENDING
DESCENDING = Query.DESCENDING

__all__ = [
    "ASCENDING",
    "DELETE_FIELD",
    "DESCENDING",
    "SERVER_TIMESTAMP",
    "Aborted",
    "AggregationExplanation",
    "AggregationQuery",
    "AggregationResult",
    "AlreadyExists",
    "And",
    "ArrayRemove",
    "ArrayUnion",
    "AsyncAggregationQuery",
    "AsyncAuth",
    "AsyncBlob",
    "AsyncBlobIterator",
    "AsyncBlobReader",
    "AsyncBlobWriter",
    "AsyncBucket",
    "AsyncBulkWriter",
    "AsyncClient",
    "AsyncCollectionGroup",
    "AsyncCollectionReference",
    "AsyncDocumentReference",
    "AsyncGroupQuery",
    "AsyncJob",
    "AsyncListener",
    "AsyncQuery",
    "AsyncTransaction",
    "AsyncWatch",
    "AsyncWriteBatch",
    "Auth",
    "AvgAggregation",
    "Blob",
    "BlobIterator",
    "BlobReader",
    "BlobWriter",
    "Bucket",
    "BulkWriteFailure",
    "BulkWriter",
    "BulkWriterOperation",
    "BulkWriterOptions",
    "Cancelled",
    "ChangeType",
    "Client",
    "Code",
    "CollectionGroup",
    "CollectionReference",
    "CountAggregation",
    "DataLoss",
    "DeadlineExceeded",
    "DocumentChange",
    "DocumentReference",
    "DocumentSnapshot",
    "FailedPrecondition",
    "FieldFilter",
    "FieldPath",
    "ForeignReference",
    "GeoPoint",
    "Group",
    "GroupQuery",
    "Increment",
    "Internal",
    "InvalidArgument",
    "InvalidPath",
    "InvalidQuery",
    "InvalidValue",
    "Job",
    "JobFailure",
    "JobProgress",
    "JobState",
    "Listener",
    "Maximum",
    "MaximumAggregation",
    "Minimum",
    "MinimumAggregation",
    "NotFound",
    "Or",
    "OutOfRange",
    "PermissionDenied",
    "Query",
    "QueryExplanation",
    "QuerySnapshot",
    "QuotaExceeded",
    "ResourceExhausted",
    "ResumeTokenExpired",
    "RetryPolicy",
    "RulesetRejected",
    "SchemaRejected",
    "SdkError",
    "SumAggregation",
    "TokenExpired",
    "TokenInvalid",
    "TooManyListeners",
    "Transaction",
    "TransactionConflict",
    "TransferProgress",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "User",
    "Vector",
    "Watch",
    "WriteBatch",
    "WriteOption",
    "WriteResult",
    "async_transactional",
    "transactional",
]
