"""Firebase security rules: parse, check, evaluate, prove lists. Pure: no I/O, no clock.

ruleset = Ruleset.parse(source)
decision = ruleset.decide(request, documents)
"""

from baas_rules.case_runner import CaseResult, junit, run_cases
from baas_rules.cases import Case, CaseFile, parse_cases
from baas_rules.coverage import Coverage
from baas_rules.coverage_reports import html, lcov
from baas_rules.decision import (
    AllOf,
    AnyOf,
    Attempt,
    Auth,
    Constraint,
    Decision,
    Explanation,
    FieldConstraint,
    ListBound,
    ListOrder,
    ListRequest,
    LookedUp,
    Lookup,
    ObjectListRequest,
    OpenAccess,
    Reason,
    Request,
    ResourceDocument,
    Step,
)
from baas_rules.errors import (
    Diagnostic,
    EvaluationError,
    LimitExceeded,
    RulesCheckError,
    RulesError,
    RulesSyntaxError,
    Severity,
)
from baas_rules.formatter import format_source
from baas_rules.ruleset import Ruleset, check, decode_source, lint
from baas_rules.service import PlainAccess
from baas_rules.values import Duration, LatLng, Path, RulesSet, Timestamp
from baas_rules.yaml_values import TestFileError

__all__ = [
    "AllOf",
    "AnyOf",
    "Attempt",
    "Auth",
    "Case",
    "CaseFile",
    "CaseResult",
    "Constraint",
    "Coverage",
    "Decision",
    "Diagnostic",
    "Duration",
    "EvaluationError",
    "Explanation",
    "FieldConstraint",
    "LatLng",
    "LimitExceeded",
    "ListBound",
    "ListOrder",
    "ListRequest",
    "LookedUp",
    "Lookup",
    "ObjectListRequest",
    "OpenAccess",
    "Path",
    "PlainAccess",
    "Reason",
    "Request",
    "ResourceDocument",
    "RulesCheckError",
    "RulesError",
    "RulesSet",
    "RulesSyntaxError",
    "Ruleset",
    "Severity",
    "Step",
    "TestFileError",
    "Timestamp",
    "check",
    "decode_source",
    "format_source",
    "html",
    "junit",
    "lcov",
    "lint",
    "parse_cases",
    "run_cases",
]
