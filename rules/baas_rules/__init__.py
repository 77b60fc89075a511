"""Firebase security rules: parse, check, evaluate, prove lists. Pure: no I/O, no clock.

ruleset = Ruleset.parse(source)
decision = ruleset.decide(request, documents)
"""

from baas_rules.decision import (
    AllOf,
    AnyOf,
    Auth,
    Constraint,
    Decision,
    Explanation,
    FieldConstraint,
    ListOrder,
    ListRequest,
    Lookup,
    ObjectListRequest,
    OpenAccess,
    Reason,
    Request,
    ResourceDocument,
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
from baas_rules.ruleset import Ruleset, check
from baas_rules.values import Duration, LatLng, Path, RulesSet, Timestamp

__all__ = [
    "AllOf",
    "AnyOf",
    "Auth",
    "Constraint",
    "Decision",
    "Diagnostic",
    "Duration",
    "EvaluationError",
    "Explanation",
    "FieldConstraint",
    "LatLng",
    "LimitExceeded",
    "ListOrder",
    "ListRequest",
    "Lookup",
    "ObjectListRequest",
    "OpenAccess",
    "Path",
    "Reason",
    "Request",
    "ResourceDocument",
    "RulesCheckError",
    "RulesError",
    "RulesSet",
    "RulesSyntaxError",
    "Ruleset",
    "Severity",
    "Timestamp",
    "check",
]
