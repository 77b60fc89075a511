"""Groups of commands that know a verb by the other names that people try."""

from __future__ import annotations

import click

_SYNONYMS = (frozenset({"list", "ls"}), frozenset({"rm", "delete", "remove"}))


class Verbs(click.Group):
    """A group in which `ls` stands for `list`, `delete` for `rm` and the other way round, where
    there is no such command; help shows the one name that each has."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        found = super().get_command(context, name)
        if found is not None:
            return found
        others = {other for same in _SYNONYMS if name in same for other in same}
        meant = [other for other in sorted(others) if other in self.commands]
        return self.commands[meant[0]] if meant else None
