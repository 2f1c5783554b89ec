"""All records in order."""

from __future__ import annotations

from tests.seeds import examples_s1, examples_s2, examples_s3, examples_s4, formulas_money, formulas_sizing
from tests.seeds.record import Record

EXAMPLES: tuple[Record, ...] = examples_s1.RECORDS + examples_s2.RECORDS + examples_s3.RECORDS + examples_s4.RECORDS
FORMULAS: tuple[Record, ...] = tuple(
    sorted(formulas_sizing.RECORDS + formulas_money.RECORDS, key=lambda record: int(record.id[1:]))
)
RECORDS: tuple[Record, ...] = FORMULAS + EXAMPLES
