"""`python -m baas_rules check FILE…`: every error and warning of rules files, with carets."""

from __future__ import annotations

import sys
from pathlib import Path

from baas_rules.errors import Severity
from baas_rules.ruleset import Ruleset, check


def main(arguments: list[str]) -> int:
    """The exit status: 0 if every file can be deployed, 1 if one cannot, 2 for wrong usage."""
    if len(arguments) < 2 or arguments[0] != "check":
        sys.stderr.write("usage: python -m baas_rules check FILE…\n")
        return 2
    return max(_check_file(Path(name)) for name in arguments[1:])


def _check_file(path: Path) -> int:
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"{path}: cannot be read: {error}\n")
        return 1
    found = check(source, name=path.name)
    errors = sum(one.severity is Severity.ERROR for one in found)
    for one in found:
        sys.stdout.write(f"{path}: {one}\n\n")
    if errors:
        sys.stdout.write(f"{path}: {errors} {'error' if errors == 1 else 'errors'}\n")
        return 1
    for access in Ruleset.parse(source, name=path.name).open_access():
        until = " at some time" if access.time_bound else ""
        sys.stdout.write(
            f"{path}: open to everybody{until}: {', '.join(access.methods)} of {access.pattern} "
            f"(line {access.line})\n"
        )
    sys.stdout.write(f"{path}: can be deployed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
