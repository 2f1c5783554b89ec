"""How the files in `benchmarks/data` were made from the published traces; nothing else reads the originals.

    python -m benchmarks.policies.derive --mooncake conversation_trace.jsonl --servegen DIR

`DIR` holds, for m-large and m-small, `<pool>_client_rates.csv.gz` (client, window start, rate, coefficient of
variation) and `client_length_summary.csv.gz` (client, window start, mean, p50, p90 and p99 of both lengths).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"
MOONCAKE_BLOCK_TOKENS = 512
LENGTH_WINDOW_S = 21600
CLIENTS_KEPT = 24
"""Of each pool and window of lengths, by their share of the requests."""
RATES = {"m-large": "m-large_week1_client_rates.csv.gz", "m-small": "m-small_client_rates.csv.gz"}
LENGTH_FIELDS = tuple(
    f"{side}_tokens_{statistic}" for side in ("input", "output") for statistic in ("mean", "p50", "p90", "p99")
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.policies.derive")
    parser.add_argument("--mooncake", type=Path, required=True, help="conversation_trace.jsonl")
    parser.add_argument("--servegen", type=Path, required=True, help="folder of the ServeGen tables")
    args = parser.parse_args(argv)
    requests = [json.loads(line) for line in args.mooncake.read_text().splitlines()]
    write(
        "mooncake_conversation.csv.gz",
        ("arrival_ms", "prompt_tokens", "output_tokens", "prefix_tokens", "session"),
        mooncake(requests),
    )
    for pool, name in RATES.items():
        clients = list(rows_of(args.servegen / name))
        lengths = [row for row in rows_of(args.servegen / "client_length_summary.csv.gz") if row["pool"] == pool]
        short = pool.replace("-", "_")
        write(f"servegen_{short}_rates.csv.gz", ("t_s", "requests_per_s", "dispersion"), total_rates(clients))
        write(
            f"servegen_{short}_lengths.csv.gz",
            ("window_s", "share", *LENGTH_FIELDS),
            lengths_by_window(clients, lengths),
        )
    return 0


def mooncake(requests: Sequence[Mapping[str, object]]) -> Iterator[tuple[int, ...]]:
    """One row for each request, in the order of the trace, with its conversation and what of its prompt was there.

    `hash_ids` name the blocks of 512 tokens of a prompt; equal leading blocks are an equal prefix. Every prompt begins
    with the same block (the system prompt), so a conversation is told by its second block. A request that nobody
    follows up and that follows nobody shares only that first block, which every replica has: session -1.
    """
    owner: dict[int, int] = {}
    chained: list[tuple[int, int, int]] = []
    turns: Counter[int] = Counter()
    for number, request in enumerate(requests):
        blocks = [int(block) for block in _list(request["hash_ids"])]
        shared = 0
        while shared < len(blocks) and blocks[shared] in owner:
            shared += 1
        session = owner[blocks[shared - 1]] if shared > 1 else number
        for block in blocks:
            owner.setdefault(block, session)
        turns[session] += 1
        chained.append((session, shared, number))
    numbers: dict[int, int] = {}
    for session, shared, number in chained:
        request = requests[number]
        prompt = int(str(request["input_length"]))
        alone = turns[session] == 1
        # The first turn of a conversation finds the system prompt everywhere, but a request has one session only.
        prefix = min(prompt, shared * MOONCAKE_BLOCK_TOKENS) if shared > 1 or alone else 0
        name = -1 if alone else numbers.setdefault(session, len(numbers))
        yield int(str(request["timestamp"])), prompt, int(str(request["output_length"])), prefix, name


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError(f"hash_ids must be a list, not {value!r}")
    return value


def total_rates(clients: Iterable[Mapping[str, str]]) -> Iterator[tuple[str, ...]]:
    """Requests per second of all clients by window, and the index of dispersion of their superposition.

    The counts of a renewal process with coefficient of variation c have, over times that are long beside its gaps, c^2
    times the variance of a Poisson process; variances of independent clients add up.
    """
    rate: defaultdict[int, float] = defaultdict(float)
    spread: defaultdict[int, float] = defaultdict(float)
    for row in clients:
        at_s, its_rate = int(float(row["t_s"])), float(row["rate_rps"])
        rate[at_s] += its_rate
        spread[at_s] += its_rate * float(row["cv"]) ** 2
    for at_s in sorted(rate):
        dispersion = spread[at_s] / rate[at_s] if rate[at_s] > 0 else 1.0
        yield str(at_s), f"{rate[at_s]:.6g}", f"{dispersion:.6g}"


def lengths_by_window(
    clients: Iterable[Mapping[str, str]], lengths: Iterable[Mapping[str, str]]
) -> Iterator[tuple[str, ...]]:
    """The clients that sent most in each window of lengths, with their share of those whose lengths are known."""
    sent: defaultdict[tuple[int, str], float] = defaultdict(float)
    for row in clients:
        sent[int(float(row["t_s"])) // LENGTH_WINDOW_S, row["client"]] += float(row["rate_rps"])
    known: defaultdict[int, list[tuple[float, Mapping[str, str]]]] = defaultdict(list)
    for row in lengths:
        window = int(float(row["window_s"])) // LENGTH_WINDOW_S
        weight = sent[window, row["client"]]
        if weight > 0 and all(row[name] for name in LENGTH_FIELDS):
            known[window].append((weight, row))
    for window in sorted(known):
        kept = sorted(known[window], key=lambda each: -each[0])[:CLIENTS_KEPT]
        total = sum(weight for weight, _ in kept)
        for weight, row in kept:
            yield (
                str(window * LENGTH_WINDOW_S),
                f"{weight / total:.5f}",
                *(f"{float(row[n]):.5g}" for n in LENGTH_FIELDS),
            )


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as file:
        yield from csv.DictReader(file)


def write(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    # No time of writing in the file: the same input gives the same bytes.
    data = gzip.compress(text.getvalue().encode(), compresslevel=9, mtime=0)
    (DATA / name).write_bytes(data)
    print(f"{DATA / name}: {len(data)} bytes")


if __name__ == "__main__":
    sys.exit(main())
