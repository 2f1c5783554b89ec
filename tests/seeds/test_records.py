"""Every worked example and formula of the sources, computed again by the product's functions."""

from __future__ import annotations

import pytest

from tests.seeds.record import SOURCES, Figure, Record, Verdict
from tests.seeds.records import EXAMPLES, FORMULAS, RECORDS

FIGURES = [
    pytest.param(record, figure, id=f"{record.id}: {figure.name}") for record in RECORDS for figure in record.figures
]


@pytest.mark.parametrize(("record", "figure"), FIGURES)
def test_the_product_computes_the_right_value(record: Record, figure: Figure) -> None:
    found = figure.compute()
    if isinstance(figure.right, str):
        assert found == figure.right
    else:
        assert found == pytest.approx(figure.right, rel=figure.within), f"{record.id}: {record.reason}"


@pytest.mark.parametrize(("record", "figure"), [entry for entry in FIGURES if entry.values[1].cause is not None])
def test_the_mistake_that_is_named_gives_the_quoted_value(record: Record, figure: Figure) -> None:
    assert figure.cause is not None
    assert figure.because
    assert figure.reproduces is False, "a figure that reproduces has no mistake"
    assert figure.cause() == pytest.approx(figure.quoted, rel=0.015)


@pytest.mark.parametrize("record", RECORDS, ids=str)
def test_the_verdict_follows_from_the_figures(record: Record) -> None:
    agree = [figure.reproduces for figure in record.figures if figure.reproduces is not None]
    wrong = {Verdict.ERR, Verdict.PHYS} & set(record.verdict)
    if wrong:
        assert False in agree, f"{record.id} is called {record.verdict} and every quote reproduces"
    elif record.verdict == (Verdict.OK,):
        assert all(agree), f"{record.id} is called OK and a quote does not reproduce"
    assert record.reason
    assert record.source in SOURCES or set(record.source.split(", ")) <= set(SOURCES)


@pytest.mark.parametrize("record", RECORDS, ids=str)
def test_a_record_without_figures_says_why(record: Record) -> None:
    assert bool(record.figures) != bool(record.not_testable)


def test_no_example_and_no_formula_is_left_out() -> None:
    assert [record.id for record in EXAMPLES] == [
        "D1",
        "D2",
        "D3",
        "D3b",
        "D4",
        "D5",
        "D6",
        "D6b",
        "D7",
        "D8",
        "D8b",
        "D8c",
        "D9",
        "D9b",
        "D9c",
        "D9d",
        "D9e",
        "D10",
        "D11",
        "D12",
        "D13",
        "D14",
        "D15",
        "D15b",
        "D15c",
        "D16",
        "D17",
        "D18",
        "D19",
        "D20",
        "D21",
        "D22",
        "D23",
    ]
    assert [record.id for record in FORMULAS] == [f"B{number}" for number in range(1, 27)]
