"""The command on odd files: a table comes out whatever comes in, and no row is lost without a word."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pytest

from benchmarks.accuracy_parts.command import main, sides
from benchmarks.accuracy_parts.rows import row_from_cells
from benchmarks.accuracy_parts.split import Side

HEADER = (
    "source,row_id,engine,model,gpu,tp,precision,load,concurrency,request_rate,isl,osl,"
    "ttft_mean_ms,tpot_mean_ms,req_per_s"
)
ROWS = """\
x,1,vllm,Qwen/Qwen3-32B,h100,1,bf16,closed,2,,1000,250,90,29,
x,2,vllm,Qwen/Qwen3-32B,h100,1,bf16,closed,4,,1000,250,100,30,
x,3,vllm,Qwen/Qwen3-32B,h100,1,bf16,closed,8,,1000,250,120,31,
x,4,vllm,Qwen/Qwen3-32B,h100,1,bf16,closed,9000000,,1000,250,120,31,
x,5,vllm,acme/unheard,h100,1,bf16,closed,8,,1000,250,120,31,
x,6,vllm,Qwen/Qwen3-32B,abacus,1,bf16,closed,8,,1000,250,120,31,
x,7,,,,,,,,,,,,,
x,8,vllm,Qwen/Qwen3-32B,h100,many,??,closed,abc,,-1,nan,inf,x,
x,9,vllm,Qwen/Qwen3-32B,h100,3,bf16,closed,8,,1000,250,120,31,
x,10,vllm,Qwen/Qwen3-32B,h100,1,bf16,closed,8,,1000000,250,120,31,
x,11,vllm,Qwen/Qwen3-32B,h100,1,bf16,closed,8,,0.2,0.3,120,31,
x,12,vllm,Qwen/Qwen3-32B,h100,1,bf16,closed,8,,1000,1,120,31,
x,13,vllm,Qwen/Qwen3-32B,h100,1,bf16,open,,1,1000,250,120,31,1
x,14,vllm,Qwen/Qwen3-32B,h100,1,bf16,open,,500,1000,250,9000,61,3
x,15,abacus,meta-llama/Llama-3.1-8B-Instruct,rtx_4090,1,int4,offline-batch,16,,1000,100,100,20,5
x,16,vllm,deepseek-ai/DeepSeek-R1,l4,1,fp8,closed,8,,1000,250,120,31,
x,17,vllm,Qwen/Qwen3-32B,h100,1,bf16,steady-batch,37.5,,,250,,31,
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("accuracy")
    (folder / "odd.csv").write_text(f"{HEADER}\n{ROWS}", encoding="utf-8")
    assert main(["--data", str(folder / "odd.csv"), "--out", str(folder)]) == 0
    return folder


def test_every_row_of_an_odd_file_is_in_the_table_of_rows(results: Path) -> None:
    text = gzip.decompress((results / "accuracy_rows.csv.gz").read_bytes()).decode()
    rows = {row["row_id"]: row for row in csv.DictReader(io.StringIO(text))}
    assert sorted(map(int, rows)) == list(range(1, 18))
    silent = [id for id, row in rows.items() if not row["excluded"] and not row["itl_error"]]
    assert silent == [], "a row is predicted or says why not"
    assert rows["5"]["excluded"] == "model not in the catalogue"
    assert rows["16"]["excluded"].startswith("the weights do not fit")


def test_the_paper_counts_what_it_leaves_out_and_names_it(results: Path) -> None:
    text = (results / "accuracy.md").read_text()
    assert "acme/unheard (1)" in text
    assert "abacus (1)" in text
    assert "| model not in the catalogue | 1 | no |" in text


def test_rows_that_nobody_has_seen_count_as_test(results: Path) -> None:
    found = json.loads((results / "accuracy.json").read_text())
    assert "vllm dense test" in found["Errors"]["a uncalibrated"]
    assert "vllm dense train" not in found["Errors"]["a uncalibrated"]


def test_known_rows_keep_their_side_in_a_file_of_another_name(tmp_path: Path) -> None:
    side_of = sides(tmp_path / "mine.csv")
    known = {"source": "perf_inferencemax_runs", "row_id": "run_20316427102/396", "engine": "vllm", "gpu": "h100",
             "model": "openai/gpt-oss-120b", "precision": "fp4"}  # fmt: skip
    assert side_of(row_from_cells(known)) is Side.TRAIN
    assert side_of(row_from_cells({**known, "row_id": "new"})) is Side.TEST


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n"])
def test_what_is_no_table_of_runs_ends_with_a_sentence_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "odd.csv").write_text(text)
    assert main(["--data", str(tmp_path / "odd.csv"), "--out", str(tmp_path)]) == 2
    assert "no column 'model'" in capsys.readouterr().err


def test_a_table_without_rows_makes_an_empty_paper(tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text("model\n")
    assert main(["--data", str(tmp_path / "none.csv"), "--out", str(tmp_path)]) == 0
    assert "0 rows" in (tmp_path / "accuracy.md").read_text()


def test_groups_are_printed_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd.csv").write_text(f"{HEADER}\n{ROWS}")
    assert (
        main(["--data", str(tmp_path / "odd.csv"), "--group", "--split", "test", "--out", str(tmp_path / "out")]) == 0
    )
    assert "closed loop, uncalibrated, unsaturated" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
