"""The bounds of the language (FIREBASE.md 5.6), with their units in the names."""

from __future__ import annotations

SOURCE_BYTES_MAX = 256 * 1024
# Firebase does not tell what its compiled form is; ours is the source without blanks and comments.
COMPILED_BYTES_MAX = 250 * 1024

# Checked once, when a ruleset is made.
MATCH_DEPTH_MAX = 10  # nested match statements
PATTERN_SEGMENTS_MAX = 100  # of a full match path
CAPTURES_MAX = 20  # wildcards of a full match path
RECURSIVE_WILDCARDS_MAX = 2  # of a full match path; more would match one path in too many ways
PARAMETERS_MAX = 7
LETS_MAX = 10
CALL_DEPTH_MAX = 20
ERRORS_MAX = 50  # reported in one run
# Python's own stack bounds these two: a parser frame per level, and closures per level.
EXPRESSION_DEPTH_MAX = 80  # levels of one expression, as written
EXPANDED_DEPTH_MAX = 200  # levels of one condition with all calls expanded

# What a condition must be able to do before what it visits is counted.
GROWTH_MAX = 1_000_000  # elements of a value that it makes of lists within lists
WALKS_MAX = 100  # expressions that walk over a whole value

# Checked while a condition is evaluated; reaching one denies.
LOOKUPS_MAX = 10  # different documents that one document request or query may look up
BATCH_LOOKUPS_MAX = 20  # the same over all documents of a batch, a transaction or a multi-read
CROSS_SERVICE_LOOKUPS_MAX = 2  # different documents that one object request may look up
EXPRESSIONS_MAX = 1000  # evaluated per request
STRING_LENGTH_MAX = 1024 * 1024  # characters or bytes of a string that an evaluation makes
VISITS_MAX = 2_000_000  # elements, and characters by eights, that one evaluation may walk over
# The same for all findings about a file, and for all questions who is let in by it.
FILE_VISITS_MAX = 20_000_000
PATH_LENGTH_MAX = 1000  # segments of a path that an evaluation makes
PATTERN_LENGTH_MAX = 32 * 1024  # characters of a regular expression
PATTERN_GROUPS_MAX = 100  # of a regular expression of `replace`
PATTERN_BYTES_MAX = 8 * 1024 * 1024  # of memory for a compiled regular expression
PATTERN_STEPS_MAX = 2**27  # characters of a text times instructions of the compiled expression
PATTERN_MATCHES_MAX = 5000  # of one `replace` or `split`; texts without special characters excepted
LIST_LENGTH_MAX = 256 * 1024  # elements of a list or set that an evaluation makes

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
