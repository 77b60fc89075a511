"""Every setting and limit is in docs/settings.md with its default."""

from pathlib import Path

from baas.settings import limit_fields, setting_fields

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def test_every_setting_is_documented_with_its_default() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = [
        f"| `{item.name}` | `{item.default}` |" for item in (*setting_fields(), *limit_fields())
    ]
    assert [row for row in rows if row not in page] == []
