"""Bad input: field, value, rule, way out, exit code 2; never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.runner import CHAT, refusal, run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(("fti",), ("'fti'", "closest: fit"), id="command"),
        pytest.param(("fit", "Qwen/Qwen3-32C"), ("MODEL=Qwen/Qwen3-32C", "Qwen/Qwen3-32B", "--config"), id="model"),
        pytest.param(("fit",), ("MODEL: is missing", "-f fleet.yaml"), id="no model"),
        pytest.param(("fit", "Qwen/Qwen3-32B", "--gpu", "H1000"), ("H1000", "closest: H100"), id="gpu"),
        pytest.param(("fit", "Qwen/Qwen3-32B", "--weights", "fp9"), ("'fp9'", "closest: fp8"), id="format"),
        pytest.param(("fit", "Qwen/Qwen3-32B", "--weights", ","), ("is empty", "leave the flag out"), id="empty list"),
        pytest.param(("fit", "Qwen/Qwen3-32B", "--tp", "3"), ("'3'", "1, 2, 4 or 8"), id="tensor parallelism"),
        pytest.param(
            ("fit", "Qwen/Qwen3-32B", "--max-model-len", "999999"), ("999999", "lower it"), id="context of the model"
        ),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT, "--ttft", "2"), ("'2'", "ms, s, m or h"), id="duration"
        ),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT, "--itl", "0ms"), ("0ms", "no answer takes no time"),
            id="no time",
        ),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT, "--rate", "-1"), ("'-1'", "requests/s"), id="rate"
        ),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT, "--rate", "nan"), ("'nan'", "requests/s"), id="nan"
        ),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT, "--prompt-p95", "500"),
            ("--prompt-p95", "500", "below the mean"), id="p95 below the mean",
        ),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT, "--prompt", "40000"),
            ("40000", "--max-model-len", "raise it"), id="longer than the limit",
        ),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT, "--slo", "ttft:p96:2s"), ("p96", "p95"), id="percentile"
        ),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT, "--slo", "tft:p99:2s"), ("'tft'", "closest: ttft"),
            id="metric",
        ),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT, "--slo", "ttft:p95:3s"), ("twice", "keep one"),
            id="the same objective twice",
        ),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT, "--weights", "fp8,bf16"), ("recommend",),
            id="two formats for one size",
        ),
        pytest.param(("size", "Qwen/Qwen3-32B", *CHAT), ("--gpu: is missing",), id="no gpu"),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT, "--mode", "seed"), ("--batch 48", "--mode physics"),
            id="seed mode without its beliefs",
        ),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT, "--batch", "48"), ("--mode seed",), id="batch in physics"
        ),
        pytest.param(
            ("fit", "Qwen/Qwen3-32B", "--max-num-seqs", "512", "--max-num-batched-tokens", "256"),
            ("512", "lower it"), id="more sequences than tokens",
        ),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "H100/5g.99gb", *CHAT), ("5g.99gb",), id="mig profile"
        ),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "name=X,memory=80Gi,bandwidth=3350", *CHAT), ("bf16 is missing",),
            id="gpu in numbers, one missing",
        ),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "memory=80,bandwidth=1,bf16=1", *CHAT), ("memory=80", "80Gi"),
            id="gpu in numbers, no unit",
        ),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "memory=80Gi,bandwith=1,bf16=1", *CHAT), ("closest: bandwidth",),
            id="gpu in numbers, misspelt",
        ),
        pytest.param(
            ("recommend", "Qwen/Qwen3-32B", *CHAT, "--price", "H100=cheap"), ("'cheap'", "dollars"), id="price"
        ),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT, "--price", "H10=2.5"),
            ("--price=H10=2.5", "closest: ", "spell it as in --gpu"), id="price of an unknown gpu",
        ),
        pytest.param(
            ("fit", "Qwen/Qwen3-32B", "--kv-cache", "int4"), ("'int4'", "(known: bf16, fp8)"), id="kv cache format"
        ),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT, "--mode", "seed", "--batch", "48", "--step", "18ms",
             "--plot", "x.png"),
            ("--plot=x.png", "leave it out"), id="charts of the textbook chain",
        ),
        pytest.param(("fit", "Qwen/Qwen3-32B", "--gpu", ","), ("at least one GPU",), id="no gpu in the list"),
        pytest.param(
            ("size", "Qwen/Qwen3-32B", "--gpu", "H100/1g.10gb", *CHAT, "--tp", "2"),
            ("--tp=2", "slice of a GPU", "--tp auto"), id="tensor parallelism over slices",
        ),
        pytest.param(("explain",), ("FLEET: is missing", "-f status.json"), id="no fleet"),
        pytest.param(("explain", "-f", "x.json", "-n", "prod"), ("--namespace", "either"), id="file and namespace"),
    ],
)  # fmt: skip
def test_bad_input_names_the_value_the_rule_and_the_way_out(arguments: tuple[str, ...], says: tuple[str, ...]) -> None:
    text = refusal(*arguments)
    missing = [part for part in says if part not in text]
    assert missing == [], text


def test_everything_that_is_missing_is_said_at_once() -> None:
    text = refusal("recommend", "Qwen/Qwen3-32B")
    assert [line.split(":")[1].strip() for line in text.splitlines()] == [
        "--rate",
        "--prompt",
        "--output",
        "--ttft, --itl",
    ]


def test_a_misspelt_flag_is_told_its_neighbour() -> None:
    assert "--prompt" in refusal("size", "Qwen/Qwen3-32B", "--promt", "100")


def test_a_config_that_is_no_json_is_refused_with_its_path(tmp_path: Path) -> None:
    broken = tmp_path / "config.json"
    broken.write_text("{")
    assert f"--config={broken}" in refusal("fit", "--config", broken)


def test_a_config_without_shapes_names_the_key_that_is_missing(tmp_path: Path) -> None:
    empty = tmp_path / "config.json"
    empty.write_text("{}")
    assert "the config has no `hidden_size`" in refusal("fit", "--config", empty)


@pytest.mark.parametrize("command", ["fit", "size", "recommend", "explain"])
def test_each_command_explains_itself(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage: kubectl fleet " + command in result.stdout


def test_the_version_is_that_of_the_package() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("kubectl-fleet ")
