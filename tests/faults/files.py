"""What must hold in the files of a server that has ended, however it did."""

from __future__ import annotations

from pathlib import Path

import apsw


def check_log_and_documents_agree(data: Path, project: str) -> None:
    """Read with SQLite alone: the newest log record of each path is the document's own version."""
    file = data / "projects" / project / "databases" / "default.sqlite"
    connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    assert list(connection.execute("PRAGMA integrity_check")) == [("ok",)]
    head = connection.execute("SELECT version FROM head").get
    newest = connection.execute("SELECT max(version) FROM log").get
    assert head == newest
    disagreeing = connection.execute(
        """SELECT count(*) FROM documents d
           LEFT JOIN (SELECT path, max(version) AS version FROM log GROUP BY path) l USING (path)
           WHERE l.version IS NOT d.version"""
    ).get
    assert disagreeing == 0
    superseded_twice = connection.execute(
        "SELECT count(*) FROM (SELECT key, version FROM history GROUP BY 1, 2 HAVING count(*) > 1)"
    ).get
    assert superseded_twice == 0
    connection.close()
