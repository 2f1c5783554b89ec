"""docs/seeds.md is what the records say."""

from __future__ import annotations

from tests.seeds.document import PATH, text
from tests.seeds.records import RECORDS


def test_the_page_is_generated_from_the_records() -> None:
    assert PATH.read_text(encoding="utf-8") == text(), "run: python -m tests.seeds.document > docs/seeds.md"


def test_every_record_is_on_the_page() -> None:
    page = text()
    assert all(f"### {record.id} (" in page or f"| {record.id} |" in page for record in RECORDS)
    assert "as quoted" in page.lower()
