"""Settings of the installation, from `INFERENCEFLEET_*` environment variables; the Helm chart sets them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inferencefleet.catalog import Catalogue, built_in

PREFIX = "INFERENCEFLEET_"


class InvalidSettings(ValueError):
    """A variable has a value that cannot be; the message names variable, value and rule."""


class Settings(BaseModel):
    """Every field is read from the variable of the same name in upper case behind `INFERENCEFLEET_`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prometheus_url: str = Field("http://prometheus-operated.monitoring.svc:9090", pattern=r"^https?://")
    """Base URL of Prometheus or of anything with its query API."""
    period_seconds: float = Field(15.0, gt=0, le=600)
    """Time between two ticks when nothing changes; changes wake the loop earlier."""
    metrics_window_seconds: int = Field(60, ge=5, le=3600)
    """Rate window of queries: at least four scrape intervals."""
    metrics_max_age_seconds: int = Field(60, ge=1, le=3600)
    """Samples older than this are stale: the fleet is held or grows, never shrinks."""
    attainment_window_seconds: int = Field(3600, ge=60)
    """Window of the SLO attainment that the status shows."""
    starting_seconds: float | None = Field(None, ge=0)
    """Prior for image pull and model load on a node that is there; unset = by physics from the model's size. Either
    way it is measured as soon as a replica got ready."""
    exhausted_backoff_seconds: float = Field(180.0, ge=1)
    """First back-off of a pool that does not deliver; doubles up to one hour."""
    metrics_port: int = Field(8080, ge=0, le=65535)
    """Port of /metrics and /healthz; 0 picks a free one."""
    metrics_host: str = "0.0.0.0"
    kubeconfig: str = ""
    """Path of a kubeconfig; empty = in-cluster, then KUBECONFIG."""
    catalog: str = ""
    """Path of a YAML file with GPUs, models and prices of your own, on top of the built-in ones; empty = none."""
    log_level: str = Field("INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the known variables; an unknown `INFERENCEFLEET_` variable or a bad value is refused by name."""
        given = {name[len(PREFIX) :].lower(): value for name, value in environ.items() if name.startswith(PREFIX)}
        try:
            return cls.model_validate(given)
        except ValidationError as refused:
            lines = [
                f"{PREFIX}{'_'.join(str(part) for part in error['loc']).upper()}={error['input']!r}: {error['msg']}"
                for error in refused.errors()
            ]
            known = ", ".join(PREFIX + name.upper() for name in cls.model_fields)
            raise InvalidSettings("\n".join([*lines, f"known settings: {known}"])) from refused


def load_catalogue(settings: Settings) -> Catalogue:
    """The built-in catalogue, with the file of `INFERENCEFLEET_CATALOG` on top when there is one.

    `InvalidSettings` when it cannot be read, `InvalidCatalogue` names the first wrong value in it.
    """
    if not settings.catalog:
        return built_in()
    try:
        text = Path(settings.catalog).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(
            f"{PREFIX}CATALOG={settings.catalog!r}: cannot be read ({error}); give the path of a YAML file, or unset it"
        ) from None
    return built_in().extended(text, settings.catalog)
