"""Settings from the environment: refused by variable, value and rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferencefleet.catalog import InvalidCatalogue, built_in
from inferencefleet.settings import InvalidSettings, Settings, load_catalogue


def refusal(**environ: str) -> str:
    with pytest.raises(InvalidSettings) as refused:
        Settings.from_env({f"INFERENCEFLEET_{name}": value for name, value in environ.items()})
    return str(refused.value)


def test_everything_has_a_default() -> None:
    assert Settings.from_env({}) == Settings()
    assert Settings().period_seconds == 15


def test_variables_are_read_by_name_and_strange_ones_of_others_are_left_alone() -> None:
    found = Settings.from_env({"INFERENCEFLEET_PERIOD_SECONDS": "5", "PATH": "/bin", "INFERENCE": "x"})
    assert found.period_seconds == 5.0


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("PERIOD_SECONDS", "0", "greater than 0"),
        ("PERIOD_SECONDS", "often", "valid number"),
        ("PERIOD_SECONDS", "nan", "finite number"),
        ("METRICS_WINDOW_SECONDS", "1", "greater than or equal to 5"),
        ("STARTING_SECONDS", "-1", "greater than or equal to 0"),
        ("STARTING_SECONDS", "inf", "finite number"),
        ("METRICS_PORT", "99999", "less than or equal to 65535"),
        ("PROMETHEUS_URL", "prometheus:9090", "pattern"),
        ("LOG_LEVEL", "LOUD", "pattern"),
    ],
)
def test_a_bad_value_is_refused_with_variable_value_and_rule(name: str, value: str, rule: str) -> None:
    message = refusal(**{name: value})
    assert f"INFERENCEFLEET_{name}={value!r}" in message
    assert rule in message


def test_a_misspelt_variable_is_refused_and_the_known_ones_are_named() -> None:
    message = refusal(PERIODSECONDS="5")
    assert "INFERENCEFLEET_PERIODSECONDS='5'" in message
    assert "INFERENCEFLEET_PERIOD_SECONDS" in message.splitlines()[-1]


def test_all_mistakes_are_told_at_once() -> None:
    message = refusal(PERIOD_SECONDS="0", LOG_LEVEL="LOUD")
    assert "INFERENCEFLEET_PERIOD_SECONDS" in message
    assert "INFERENCEFLEET_LOG_LEVEL" in message


def test_a_catalogue_file_goes_on_top_of_the_built_in_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("gpus: {H100-SXM: {bandwidthGBps: 3200}}", encoding="utf-8")
    found = load_catalogue(Settings.from_env({"INFERENCEFLEET_CATALOG": str(path)}))
    assert found.gpu("H100").bandwidth_bytes_per_s == 3.2e12
    assert load_catalogue(Settings()) is built_in()


def test_a_catalogue_file_that_is_not_there_is_refused_by_variable_and_value() -> None:
    with pytest.raises(InvalidSettings, match=r"INFERENCEFLEET_CATALOG=./nowhere\.yaml.: cannot be read"):
        load_catalogue(Settings(catalog="/nowhere.yaml"))


def test_a_catalogue_file_with_a_mistake_is_refused_by_file_and_value(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("gpus: {H100-SXM: {bandwidthGBps: fast}}", encoding="utf-8")
    with pytest.raises(InvalidCatalogue, match=r"mine\.yaml: GPU 'H100-SXM': bandwidthGBps is 'fast'"):
        load_catalogue(Settings(catalog=str(path)))
