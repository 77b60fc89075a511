"""`baas init`: a folder to start an app in."""

from __future__ import annotations

from pathlib import Path

import click

from baas.cli.failures import CommandFailed
from baas.cli.options import CONFIGURATION_FILE

RULES_FILE = "firestore.rules"

_CONFIGURATION = """\
# Settings of this server: docs/settings.md lists them all. Environment variables (BAAS_PORT=…) and
# flags (baas serve --port …) go before what stands here. Relative paths start where baas is run.

data = "data"
host = "127.0.0.1"
port = 8080

# Explains denials, and creates databases on first use. Only for the machine you develop on.
dev = true

# [limits]
# request_bytes_max = 10485760
"""

_RULES = """\
rules_version = '2';

// Who may read and write what. Deny is the default; every allow below is an exception from it.
//
//   baas rules check firestore.rules
//   baas rules deploy firestore.rules --project my-app
service cloud.firestore {
  match /databases/{database}/documents {

    function signedIn() {
      return request.auth != null;
    }

    // Everything below users/{uid} is that user's own.
    match /users/{uid}/{document=**} {
      allow read, write: if signedIn() && request.auth.uid == uid;
    }

    // Posts: every signed-in user reads them, their author writes them.
    match /posts/{post} {
      allow read: if signedIn();
      allow create: if signedIn()
        && request.resource.data.author == request.auth.uid
        && request.resource.data.text is string
        && request.resource.data.text.size() <= 5000;
      allow update: if signedIn()
        && resource.data.author == request.auth.uid
        && request.resource.data.author == resource.data.author;
      allow delete: if signedIn() && resource.data.author == request.auth.uid;
    }
  }
}
"""


@click.command("init")
@click.argument(
    "folder", type=click.Path(path_type=Path, file_okay=False), default=Path(), required=False
)
def init_command(folder: Path) -> None:
    """Lay out FOLDER (this one by default): settings, sample rules, a data folder.

    Nothing that is there is replaced.
    """
    files = {folder / CONFIGURATION_FILE: _CONFIGURATION, folder / RULES_FILE: _RULES}
    there = [path for path in files if path.exists()]
    if there:
        raise CommandFailed(f"`{there[0]}` exists; nothing was changed")
    data = folder / "data"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The data folder holds secrets: it keeps itself out of the app's repository.
    ignore = data / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    for path, text in files.items():
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
        click.echo(f"made {path}")
    click.echo(f"made {data}/")
    where = "" if folder == Path() else f"cd {folder} && "
    click.echo(f"\nNext: {where}baas serve")
