"""The product's own numbers, made small: what takes a thousand documents happens with three."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from baas.database import (
    corpora,
    executor,
    index_builder,
    merging,
    near,
    postings,
    search,
    sources,
    views,
)
from baas.database.executor import QueryExecutor
from baas.model import sampling


def make_everything_small(
    set_attribute: Callable[[Any, str, Any], None], set_item: Callable[[Any, str, Any], None]
) -> None:
    """Batches, slices and windows of two; indexes for the smallest of collections."""
    for module, name, number in (
        (executor, "SCAN_SLICE", 2),
        (executor, "BATCH_MAX", 2),
        (sources, "BATCH_FIRST", 2),
        (sources, "BATCH_MAX", 2),
        (merging, "BATCH_MAX", 2),
        (near, "BATCH_MIN", 2),
        (near, "BATCH_MAX", 3),
        (near, "BATCH_AT_EDGE", 2),
        (near, "HELD_BYTES_MAX", 200),
        (postings, "BATCH", 2),
        (corpora, "SLACK", 1),
        (corpora, "RARE_MAX", 1),
        (sampling, "EXACT_MAX", 2),
        (sampling, "FIRST_LEVEL", 1),
        (search, "BATCH", 1),
        (search, "DOCUMENTS_MAX", 2),
        (search, "PLACES_MAX", 3),
    ):
        set_attribute(module, name, number)
    set_attribute(index_builder, "DROP_GRACE_SECONDS", 0.0)
    set_attribute(views, "SLACK_MIN", 1)
    set_attribute(views, "SLACK_MAX", 2)
    set_item(QueryExecutor.__init__.__kwdefaults__, "index_after_scanned", 0)
