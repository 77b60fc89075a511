"""Coverage as lcov and as a page."""

from __future__ import annotations

from html.parser import HTMLParser

from baas_rules import Coverage, Request, ResourceDocument, Ruleset, html, lcov

from tests.rules.worlds import ADA, NOW

SOURCE = """rules_version = '2';
service cloud.firestore { match /databases/{db}/documents { match /a/{id} {
  allow get: if resource.data.n == 1 &&
    (resource.data.owner < 'b' || resource.data.none);
  allow delete: if request.auth.uid == '<&>';
} } }"""


def covered(*numbers: int) -> Coverage:
    rules = Ruleset.parse(SOURCE, name="<my>.rules")
    coverage = rules.coverage()
    for number in numbers:
        stored = ResourceDocument(("a", "x"), {"n": number, "owner": "ada"})
        rules.cover(Request("get", ("a", "x"), ADA, NOW, stored), {}, coverage)
    return coverage


def test_lcov_counts_lines_and_both_outcomes() -> None:
    lines = lcov([covered(1, 1)]).splitlines()
    assert lines[:2] == ["TN:", "SF:<my>.rules"]
    assert "DA:3,2" in lines
    assert "DA:5,0" in lines
    branches = [line for line in lines if line.startswith("BRDA:")]
    # The whole condition and `n == 1` begin at one place; each was true twice, and never false.
    assert branches[:4] == ["BRDA:3,0,0,2", "BRDA:3,0,1,0", "BRDA:3,1,0,2", "BRDA:3,1,1,0"]
    assert "BRDA:5,5,0,-" in branches
    assert lines[-3:] == ["LF:3", "LH:2", "end_of_record"]
    assert f"BRF:{len(branches)}" in lines
    assert "BRH:4" in lines


def test_records_of_several_files_follow_one_another() -> None:
    assert lcov([covered(), covered(1)]).count("end_of_record") == 2


class _Page(HTMLParser):
    """The marked pieces of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.marked: list[tuple[str, str]] = []
        self.text = ""
        self.tags: list[str] = []
        self._title = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._title = dict(attrs).get("title") or ""

    def handle_endtag(self, tag: str) -> None:
        self._title = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._title:
            self.marked.append((self._title, data))


def test_the_page_marks_what_is_not_covered_and_is_only_text() -> None:
    page = _Page()
    page.feed(html([covered(1, 1)]))
    assert "<my>.rules" in page.text
    assert "my" not in page.tags
    assert ("never evaluated", "request.auth.uid == '<&>'") in page.marked
    assert ("never evaluated", "resource.data.none") in page.marked
    assert ("never false", "resource.data.n == 1") in page.marked
    assert all("\n" not in piece for _, piece in page.marked)
    for line in SOURCE.splitlines():
        assert line in page.text


def test_what_is_covered_both_ways_is_not_marked() -> None:
    page = _Page()
    page.feed(html([covered(1, 2)]))
    assert not any("n == 1" in piece for _, piece in page.marked)
