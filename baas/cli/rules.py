"""`baas rules`: check without a server, deploy to one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import baas_rules
import click

from baas.cli.client import path_of
from baas.cli.failures import Refused
from baas.cli.options import Target, json_option, project_option, read_text, with_target
from baas.cli.output import note, print_json
from baas.cli.rules_audit import audit_rules
from baas.cli.rules_denials import explain_denial, list_denials
from baas.cli.rules_releases import (
    OPEN_NOTE,
    allow_open_option,
    deploy,
    deployment_body,
    describe_open,
    diff_releases,
    if_release_option,
    listed,
    message_option,
    roll_back,
    show_history,
    show_release,
)
from baas.cli.rules_tests import format_rules, lint_rules, run_tests
from baas.cli.rules_trials import try_rules
from baas.cli.verbs import Verbs
from baas.projects.rulesets import diagnostic_details, open_access_details

_file = click.argument(
    "file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)
)


@click.group("rules", cls=Verbs)
def rules_group() -> None:
    """Check, test and deploy security rules."""


for _command in (
    *(run_tests, lint_rules, format_rules, show_history, show_release, diff_releases, roll_back),
    *(try_rules, list_denials, explain_denial, audit_rules),
):
    rules_group.add_command(_command)


@rules_group.command("check")
@_file
@json_option
def check_rules(file: Path, as_json: bool) -> None:
    """Check the rules in FILE (`-`: stdin). Needs no server. Exit code 1 if they are not valid."""
    source = read_text(file)
    findings = [diagnostic_details(one) for one in baas_rules.check(source)]
    errors = sum(one["severity"] == "error" for one in findings)
    opened = [] if errors else baas_rules.Ruleset.parse(source).open_access()
    places = [open_access_details(access) for access in opened]
    if as_json:
        print_json({"diagnostics": findings, "open": places})
    else:
        for finding in findings:
            click.echo(_describe(file, finding))
        if places:
            click.echo("Open to everybody, signed in or not:")
        for place in places:
            click.echo("  " + describe_open(place))
        warnings = len(findings) - errors
        click.echo(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}")
    if errors:
        raise click.exceptions.Exit(1)


@rules_group.command("deploy")
@_file
@project_option
@message_option
@allow_open_option
@if_release_option
@json_option
@with_target
def deploy_rules(
    file: Path,
    project: str,
    message: str,
    allow_open: bool,
    if_release: str | None,
    as_json: bool,
    target: Target,
) -> None:
    """Put the rules in FILE in force for a project, at once."""
    source = read_text(file)
    body = {"source": source, **deployment_body(message, allow_open, if_release)}
    try:
        made = deploy(target, "PUT", path_of("projects", project, "rules"), body)
    except Refused as refused:
        for finding in listed(refused.details, "diagnostics"):
            note(_describe(file, finding))
        raise
    if allow_open and baas_rules.Ruleset.parse(source).open_access():
        note(OPEN_NOTE)
    if as_json:
        print_json({name: value for name, value in made.items() if name != "source"})
    else:
        click.echo(f"deployed ruleset {made['ruleset']} to {project}")


def _describe(file: Path, finding: Mapping[str, Any]) -> str:
    """`file:line:column: error: …`, as editors understand it, and the line with a caret."""
    place = f"{file}:{finding['line']}:{finding['column']}"
    text = f"{place}: {finding['severity']}: {finding['message']}"
    if finding.get("snippet"):
        text += "\n" + finding["snippet"]
    if finding.get("hint"):
        text += f"\n  hint: {finding['hint']}"
    return text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
