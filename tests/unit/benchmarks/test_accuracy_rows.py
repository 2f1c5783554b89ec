"""Files of measurements come from many hands: cells that cannot be read count as absent, and nothing fails."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from benchmarks.accuracy_parts.cases import Case, Excluded, Load, case_of
from benchmarks.accuracy_parts.command import DEFAULT_DATA
from benchmarks.accuracy_parts.measured import measured
from benchmarks.accuracy_parts.naming import find_gpu, find_model, weight_format
from benchmarks.accuracy_parts.rows import NotMeasurements, Row, number, read_rows, row_from_cells
from inferencefleet.domain.hardware import NumberFormat

GOOD = {
    "source": "mine", "engine": "vllm", "model": "Qwen/Qwen3-32B", "gpu": "NVIDIA H100 80GB HBM3", "tp": "2",
    "precision": "bf16", "load": "closed", "concurrency": "16", "isl": "1000", "osl": "251",
    "ttft_mean_ms": "200", "tpot_mean_ms": "20",
}  # fmt: skip


def row(**cells: str) -> Row:
    return row_from_cells({**GOOD, **cells})


def written(folder: Path, text: str) -> Path:
    path = folder / "runs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_milliseconds_become_seconds_and_text_is_stripped() -> None:
    found = row(model=" Qwen/Qwen3-32B ".strip(), ttft_mean_ms="200")
    assert (found.ttft_mean_s, found.tpot_mean_s) == (0.2, 0.02)


@pytest.mark.parametrize("cell", ["", "n/a", "NaN", "inf", "-3", "twelve", "None", "1e999"])
def test_a_cell_that_is_no_measurement_is_absent(cell: str) -> None:
    assert number(cell) is None


def test_thousands_separators_and_booleans_are_numbers() -> None:
    assert (number("1,024"), number("true"), number("False")) == (1024.0, 1.0, 0.0)


def test_a_file_with_only_a_few_columns_is_read(tmp_path: Path) -> None:
    rows = read_rows(
        written(tmp_path, "model,gpu,tp,concurrency,isl,osl,tpot_mean_ms\nQwen/Qwen3-32B,h100,2,8,9,9,14\n")
    )
    found = case_of(rows[0])
    assert isinstance(found, Case)
    assert found.load is Load.CLOSED, "a concurrency without a kind of load is a closed loop"


def test_blank_lines_extra_cells_short_lines_and_a_byte_order_mark_are_survived(tmp_path: Path) -> None:
    rows = read_rows(written(tmp_path, "\ufeffmodel,tp\n\na,1,surplus,cells\nb\n,\n"))
    assert [(found.model, found.tp) for found in rows] == [("a", 1.0), ("b", None)]


def test_a_gzipped_file_is_read_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes(gzip.compress(b"model\na\n"))
    assert [found.model for found in read_rows(path)] == ["a"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("a,b\n1,2\n", "no column 'model'"), ("", "no column 'model'"), ("\x00", "no column")],
)
def test_a_file_that_is_no_table_of_runs_is_refused_with_the_way_out(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(NotMeasurements, match=sentence):
        read_rows(written(tmp_path, text))


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(NotMeasurements, match=r"nothing\.csv"):
        read_rows(tmp_path / "nothing.csv")


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"model": "acme/Unheard-9B"}, Excluded.MODEL),
        ({"gpu": "TPU v7"}, Excluded.GPU),
        ({"load": "sometimes"}, Excluded.LOAD),
        ({"concurrency": "many"}, Excluded.NO_LOAD),
        ({"load": "open"}, Excluded.NO_LOAD),
        ({"osl": ""}, Excluded.LENGTHS),
        ({"mode": "disagg"}, Excluded.DISAGGREGATED),
        ({"ttft_mean_ms": "x", "tpot_mean_ms": "-1"}, Excluded.NO_MEASUREMENT),
    ],
)
def test_a_row_that_cannot_be_asked_says_why(cells: dict[str, str], reason: Excluded) -> None:
    assert case_of(row(**cells)) is reason
    assert reason.is_fatal


@pytest.mark.parametrize(
    ("cells", "reason", "tensor_parallel"),
    [
        ({"dp_attn": "8", "gpus_per_replica": "8", "tp": "1"}, Excluded.ATTENTION_DP, 8),
        ({"dp_attn": "true"}, Excluded.ATTENTION_DP, 2),
        ({"ep": "2"}, Excluded.EXPERT_PARALLEL, 2),
        ({"pp": "2", "gpus_per_replica": "4"}, Excluded.PIPELINE, 4),
        ({"tp": "64", "gpus_per_replica": "64"}, Excluded.TP_SIZE, 8),
        ({"tp": "0.5"}, Excluded.TP_SIZE, 1),
        ({"gpus_per_replica": "4"}, Excluded.GPU_COUNT, 4),
        ({"tp": ""}, Excluded.TP, 1),
        ({"precision": "quantized"}, Excluded.FORMAT, 2),
        ({"isl": ""}, Excluded.PROMPT, 2),
        ({"gpu": "h100-80gb-pcap"}, Excluded.POWER_CAP, 2),
        ({"engine_version": "0.11 eagle"}, Excluded.SPECULATIVE, 2),
        ({"tp": "1", "model": "deepseek-ai/DeepSeek-R1", "precision": "fp8"}, Excluded.MEMORY, 1),
    ],
)
def test_a_row_that_ran_otherwise_is_kept_apart_and_predicted_as_plain_tensor_parallelism(
    cells: dict[str, str], reason: Excluded, tensor_parallel: int
) -> None:
    found = case_of(row(**cells))
    assert isinstance(found, Case)
    assert (found.excluded, found.shape.tensor_parallel) == (reason, tensor_parallel)
    assert not reason.is_fatal


def test_clients_of_several_replicas_are_shared_out() -> None:
    found = case_of(row(replicas="4"))
    assert isinstance(found, Case)
    assert found.clients == 4.0


def test_every_committed_row_can_be_asked() -> None:
    rows = read_rows(DEFAULT_DATA)
    fatal = {(found.model, found.gpu) for found in rows if isinstance(case_of(found), Excluded)}
    assert len(rows) == 4344
    assert fatal == set(), "models and GPUs of all committed rows are in the catalogue"


@pytest.mark.parametrize(
    ("name", "gpu"),
    [
        ("Nvidia H100 GPU", "H100-SXM"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM"),
        ("h100-80gb-pcap", "H100-SXM"),
        ("b200-trt", "B200"),
        ("h200_sxm", "H200-SXM"),
        ("a100-80gb", "A100-SXM"),
        ("a100-sxm4-40gb", "A100-SXM-40GB"),
        ("h100_pcie", "H100-PCIE"),
    ],
)
def test_gpu_names_of_other_files_are_recognised(name: str, gpu: str) -> None:
    found = find_gpu(name)
    assert found is not None
    assert found.name == gpu


def test_names_that_are_only_near_a_known_one_stay_unknown() -> None:
    assert find_gpu("h1000") is None
    assert find_gpu("gpu") is None
    assert find_model("Qwen/Qwen3-33B") is None
    assert find_model("deepseek-ai/DeepSeek-R1-Distill-Falcon-32B") is None


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("Llama-3.3-70B", 80),
        ("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", 80),
        ("nvidia/DeepSeek-R1-0528-FP4-V2", 61),
        ("amd/DeepSeek-R1-0528-MXFP4-Preview", 61),
        ("llama2-70b", 80),
        ("Qwen/Qwen3-32B-AWQ", 64),
        ("mistralai/Mistral-7B-v0.1", 32),
    ],
)
def test_checkpoints_are_recognised_by_their_architecture(name: str, layers: int) -> None:
    found = find_model(name)
    assert found is not None
    assert (found.id.lower(), found.layers) == (name.lower(), layers)


@pytest.mark.parametrize(
    ("precision", "name", "expected"),
    [
        ("fp4", "nvidia/DeepSeek-R1-0528-FP4-V2", NumberFormat.NVFP4),
        ("fp4", "amd/DeepSeek-R1-0528-MXFP4-Preview", NumberFormat.MXFP4),
        ("fp8", "openai/gpt-oss-120b", NumberFormat.MXFP4),
        ("FP8 dynamic", "Qwen/Qwen3-32B", NumberFormat.FP8),
        ("w4a16", "Qwen/Qwen3-32B", NumberFormat.INT4),
        ("bf16", "Qwen/Qwen3-32B-AWQ", NumberFormat.INT4),
        ("fp16", "Qwen/Qwen3-32B", NumberFormat.BF16),
        ("", "deepseek-ai/DeepSeek-R1", NumberFormat.FP8),
        ("quantized", "Qwen/Qwen3-32B", None),
    ],
)
def test_precision_labels_become_formats(precision: str, name: str, expected: NumberFormat | None) -> None:
    spec = find_model(name)
    assert spec is not None
    assert weight_format(precision, name, spec) is expected


def test_what_is_not_in_a_column_is_worked_out_from_others() -> None:
    found = case_of(row(tpot_mean_ms="", ttft_mean_ms="1000", e2e_mean_ms="6000"))
    assert isinstance(found, Case)
    seen = measured(found)
    assert seen.itl_s == pytest.approx(5.0 / 250)
    assert seen.throughput_is_derived
    assert seen.output_tokens_per_s == pytest.approx(16 * 251 / 6.0)


def test_measured_throughput_is_by_replica() -> None:
    found = case_of(row(out_tok_s="1000", replicas="4"))
    assert isinstance(found, Case)
    assert (measured(found).output_tokens_per_s, measured(found).throughput_is_derived) == (250.0, False)
