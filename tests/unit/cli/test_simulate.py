"""`simulate`: a trace from a file becomes a replay, and everything wrong with a file is told with its place."""

from __future__ import annotations

import gzip
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferencefleet.cli.simulate import answer as answering
from inferencefleet.cli.simulate.traffic import from_rates, from_trace, times
from inferencefleet.cli.simulate.truth import SPREADS, truth
from inferencefleet.cli.simulate.world import market
from inferencefleet.simulator import fast
from inferencefleet.simulator.servers import Arrivals
from tests.builders import a_mix
from tests.unit.cli.runner import answer, refusal, run

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "simulate"
FLEET = ("--fleet", EXAMPLES / "fleet.yaml", "--pools", EXAMPLES / "pools.yaml")


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Three requests a second for four minutes."""
    path = tmp_path / "trace.csv"
    rows = [f"{i / 3:.3f},{400 + 37 * (i % 11)},{60 + 13 * (i % 7)}" for i in range(720)]
    path.write_text("\n".join(["arrival_s,prompt_tokens,output_tokens", *rows]))
    return path


def first(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["policies"][0]
    return found


def test_a_trace_is_replayed_and_scored_request_by_request(trace: Path) -> None:
    document = answer("simulate", "--trace", trace, *FLEET, "--truth", "prior")
    assert [run["policy"] for run in document["policies"]] == ["ours", "static-peak"]
    ours = first(document)
    assert ours["requests"] == 720
    assert ours["attainment"] == 1.0
    assert 0 < ours["ttftSeconds"]["p50"] < ours["ttftSeconds"]["p99"] < 2.0
    assert ours["usd"] == pytest.approx(sum(ours["usdByPool"].values()))
    # Reserved nodes are paid whether used or not: 4 GPUs at $2.20.
    assert ours["usdByPool"]["reserved"] == pytest.approx(4 * 2.20 * document["hours"])


def test_the_same_seed_gives_the_same_answer_and_another_other_engines(trace: Path) -> None:
    one = answer("simulate", "--trace", trace, *FLEET, "--alone", "--seed", "4")
    assert answer("simulate", "--trace", trace, *FLEET, "--alone", "--seed", "4") == one
    other = answer("simulate", "--trace", trace, *FLEET, "--alone", "--seed", "5")
    assert other["truth"] != one["truth"]


def test_slower_engines_than_believed_are_slower_for_everybody(trace: Path) -> None:
    def median(factors: str) -> float:
        document = answer("simulate", "--trace", trace, *FLEET, "--alone", "--truth", factors)
        interval: float = first(document)["tokenIntervalSeconds"]["p50"]
        return interval

    assert median("memory=2.0") > 1.4 * median("memory=1.0")


def test_a_law_of_others_is_compared_on_the_same_stage(trace: Path) -> None:
    document = answer("simulate", "--trace", trace, *FLEET, "--policy", "kaito", "--policy", "ours", "--alone")
    assert [run["policy"] for run in document["policies"]] == ["kaito", "ours"]


def test_everything_that_can_be_asked_for_can_be_started() -> None:
    known = answering.policies()
    assert {"ours", "static-peak", "static-mean", "hpa-waiting", "wva-tokens"} <= set(known)
    answering.check_policies(list(known))


def test_the_table_compares_tells_decisions_and_concludes(trace: Path) -> None:
    said = run("simulate", "--trace", trace, *FLEET).stdout
    assert "WITHIN SLO" in said
    assert "static-peak" in said
    assert "than a fixed fleet for the busiest minute" in said
    assert "HiGHS" not in said


def test_the_report_is_one_page_that_loads_nothing(trace: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert run("simulate", "--trace", trace, *FLEET, "--report", page).exit_code == 0
    text = page.read_text()
    assert text.count("<svg") == 5
    assert not re.search(r"""(src|href)=["']?https?:""", text)
    assert "<script" not in text
    assert "what would have happened" in text
    again = tmp_path / "again.html"
    run("simulate", "--trace", trace, *FLEET, "--report", again)
    assert again.read_text() == text, "the same replay, the same page"


def test_a_market_without_nodes_keeps_replicas_off_spot(tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text("minute,requests_per_s\n0,20\n6,20\n")
    spot = tmp_path / "spot.csv"
    spot.write_text("at_s,nodes\n0,0\n")
    document = answer("simulate", "--rate", rates, *FLEET, "--alone", "--spot", f"spot={spot}", "--truth", "prior")
    assert "spot" not in first(document)["replicasMeanByPool"]
    assert first(document)["usdByPool"].get("spot", 0.0) == 0.0


def test_a_world_of_spot_alone_is_one_for_every_policy(trace: Path, tmp_path: Path) -> None:
    text = (
        (EXAMPLES / "pools.yaml")
        .read_text()
        .split("---")[-1]
        .replace("notice: 2m", "notice: 2m\n    interruptionsPerHour: 0")
    )
    pools = tmp_path / "pools.yaml"
    pools.write_text(text)
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(
        (EXAMPLES / "fleet.yaml").read_text().replace("policy: Hedged", "policy: Preferred").replace("0.5", "1")
    )
    document = answer("simulate", "--trace", trace, "--fleet", fleet, "--pools", pools, "--truth", "prior")
    for run_ in document["policies"]:
        assert run_["replicasMeanByPool"]["spot"] > 0.5, run_["policy"]
        assert run_["attainment"] > 0.99


def test_published_markets_are_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "us-east-2b.json"
    path.write_text('{"metadata": {"gap_seconds": 60}, "data": [4, 4, 3, 3, 0]}')
    found = market(path)
    assert (found.at_s, found.nodes) == ((0.0, 120.0, 240.0), (4, 3, 0))


def test_rates_make_a_poisson_process_with_the_lengths_of_the_file(tmp_path: Path) -> None:
    rates, lengths = tmp_path / "rates.csv", tmp_path / "lengths.csv"
    rates.write_text("minute,requests_per_minute\n0,600\n10,0\n20,1200\n30,0\n")
    lengths.write_text("prompt_tokens,output_tokens\n100,10\n2000,300\n")
    found = from_rates(rates, lengths, a_mix(), seed=3)
    per_s = [float(((found.arrival_s >= a) & (found.arrival_s < a + 600)).sum()) / 600 for a in (0, 600, 1200)]
    assert per_s == pytest.approx([10, 0, 20], rel=0.05)
    pairs = {(int(p), int(o)) for p, o in zip(found.prompt_tokens, found.output_tokens, strict=True)}
    assert pairs == {(100, 10), (2000, 300)}, "lengths of one request stay together"
    declared = from_rates(rates, None, a_mix(), seed=3)
    assert float(declared.prompt_tokens.mean()) == pytest.approx(a_mix().mean_prompt_tokens, rel=0.05)


def test_more_traffic_is_the_same_mix_with_more_of_it(trace: Path) -> None:
    recorded = from_trace(trace)
    for factor in (0.5, 2.5):
        found = times(recorded, factor, seed=1)
        assert len(found) == pytest.approx(factor * len(recorded), rel=0.1)
        assert (np.diff(found.arrival_s) >= 0).all()
        assert float(found.prompt_tokens.mean()) == pytest.approx(float(recorded.prompt_tokens.mean()), rel=0.05)
    assert times(recorded, 1.0, seed=1) is recorded


def test_a_copy_of_a_session_shares_no_prefix_with_the_recorded_one() -> None:
    session = np.array([0, 0, 1, -1])
    some = np.full(4, 10)
    found = times(
        Arrivals(arrival_s=np.arange(4.0), prompt_tokens=some, output_tokens=some, prefix_tokens=some, session=session),
        2.0,
        seed=1,
    )
    assert sorted(found.session) == [-1, -1, 0, 0, 1, 2, 2, 3]


def test_engines_are_drawn_as_they_were_measured() -> None:
    drawn = [truth(None, seed) for seed in range(400)]
    for name, (mean, deviation) in SPREADS.items():
        values = np.array([getattr(each, name) for each in drawn])
        assert float(values.mean()) == pytest.approx(mean, abs=4 * deviation / math.sqrt(400))
    assert truth({"memory": 1.2}, 1).compute == 1.0


def test_a_packed_trace_is_read_and_a_prefix_needs_no_session(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv.gz"
    path.write_bytes(gzip.compress(b"arrival_s,prompt_tokens,output_tokens,prefix_tokens\n0,100,5,60\n\n1.5,10,5,0\n"))
    found = from_trace(path)
    assert list(found.prefix_tokens) == [60, 0]
    assert list(found.session) == [-1, -1]


HEAD = "arrival_s,prompt_tokens,output_tokens\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{HEAD}0,10,5\n1,ten,5\n", "line 3, column prompt_tokens, 'ten': must be a whole number of tokens"),
        (f"{HEAD}0,10,5\n1,10,0\n", "line 3, column output_tokens, '0': must be a whole number of tokens, 1 or more"),
        (f"{HEAD}0,10.5,5\n", "line 2, column prompt_tokens, '10.5'"),
        (f"{HEAD}5,10,5\n4,10,5\n", "line 3, column arrival_s, '4': must not be below the row before it (5)"),
        (f"{HEAD}0,10\n", "line 2: has 2 cells, and line 1 names 3 columns"),
        (f"{HEAD}nan,10,5\n", "line 2, column arrival_s, 'nan'"),
        (HEAD, "holds no rows"),
        ("", "line 1: column arrival_s is missing"),
        ("arrival_s,prompt_tokens\n0,1\n", "line 1: column output_tokens is missing"),
        ("arrival_s,prompt_tokens,output_tokens,cost\n0,1,1,1\n", "line 1: column 'cost' is unknown"),
        ("arrival_s,prompt_tokens,output_tokens,prefix_tokens\n0,10,5,20\n", "prefix_tokens is 20, more than"),
    ],
)
def test_a_wrong_row_is_told_with_file_line_column_value_and_rule(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    told = refusal("simulate", "--trace", path, *FLEET)
    assert says in told
    assert str(path) in told


def test_many_wrong_rows_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(HEAD + "0,x,5\n" * 25)
    told = refusal("simulate", "--trace", path, *FLEET)
    assert told.count("column prompt_tokens") == 10
    assert "... and 15 more" in told


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((), "give either --trace FILE.csv, or --rate"),
        (("--trace", "T", "--lengths", "T"), "--lengths: goes with --rate"),
        (("--trace", "T", "--policy", "hpa-wating"), "closest: hpa-waiting"),
        (("--trace", "T", "--truth", "memry=2"), "closest: memory"),
        (("--trace", "T", "--spot", "reserved=T"), "reserved is no spot pool; those are spot"),
        (("--trace", "T", "--spot", "T"), "column at_s is missing"),
        (("--trace", "T", "--start", "soon"), "write for example 2027-01-15T08:00:00Z"),
        (("--trace", "T", "--traffic", "2"), "write a factor"),
    ],
)
def test_flags_that_cannot_be_are_refused(trace: Path, flags: tuple[str, ...], says: str) -> None:
    words = [flag.replace("T", str(trace)) if flag in ("T", "reserved=T") else flag for flag in flags]
    assert says in refusal("simulate", *words, *FLEET)


def test_objectives_out_of_reach_and_pools_without_a_size_are_refused(trace: Path, tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text((EXAMPLES / "fleet.yaml").read_text().replace("target: 60ms", "target: 1ms"))
    told = refusal("simulate", "--trace", trace, "--fleet", fleet, "--pools", EXAMPLES / "pools.yaml")
    assert "no pool can serve it within its objectives" in told
    pools = tmp_path / "pools.yaml"
    pools.write_text((EXAMPLES / "pools.yaml").read_text().replace("  limits:\n    gpus: 4\n", ""))
    told = refusal("simulate", "--trace", trace, "--fleet", EXAMPLES / "fleet.yaml", "--pools", pools)
    assert "set limits.gpus to the number of GPUs you reserved" in told


def test_without_a_compiler_the_user_is_told_how_to_get_it(trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "notice", lambda: "numba is not installed: pip install 'inferencefleet[simulate]'")
    result = run("simulate", "--trace", trace, *FLEET, "--alone")
    assert "pip install 'inferencefleet[simulate]'" in result.stderr
