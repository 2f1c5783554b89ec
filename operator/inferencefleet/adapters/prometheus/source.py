"""MetricsSource: one round of queries to Prometheus for all fleets, in threads, with a deadline on everything."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from prometheus_api_client import PrometheusApiClientException, PrometheusConnect
from urllib3.util.retry import Retry

from inferencefleet.adapters.prometheus import parse
from inferencefleet.adapters.prometheus.assemble import Answers, assemble
from inferencefleet.adapters.prometheus.history import read_history
from inferencefleet.adapters.prometheus.queries import MODEL_LABEL, Queries, Vocabulary
from inferencefleet.domain.fleet import Fleet, FleetKey
from inferencefleet.domain.history import History
from inferencefleet.domain.observation import FleetMetrics, Histogram, MetricsGap

log = logging.getLogger(__name__)

Vector = list[dict[str, Any]]

_LONG = {"ttft_long": "ttft", "itl_long": "itl", "e2e_long": "e2e"}


class QueryFailed(Exception):
    """Prometheus could not be asked, or did not answer with a result; the message says what happened."""


@dataclass(slots=True)
class _LongWindow:
    """The attainment window moves slowly and costs most to read, so it is not read on every tick."""

    at_s: float = float("-inf")
    histograms: dict[str, Mapping[FleetKey, Histogram]] = field(default_factory=dict)


class PrometheusMetricsSource:
    """Never raises for a server that is away: every fleet gets a gap with the reason."""

    def __init__(
        self,
        url: str,
        *,
        window_s: int = 60,
        attainment_window_s: int = 3600,
        attainment_every_s: float = 30.0,
        max_age_s: int = 60,
        timeout_s: float = 10.0,
        concurrency: int = 4,
        vocabulary: Vocabulary | None = None,
        bearer_token_file: Path | None = None,
        headers: Mapping[str, str] | None = None,
        verify_tls: bool = True,
    ) -> None:
        self.url = url.rstrip("/")
        self._words = vocabulary or Vocabulary()
        self._queries = Queries(self._words, window_s=window_s, max_age_s=max_age_s)
        self._attainment_window_s = attainment_window_s
        self._attainment_every_s = attainment_every_s
        self._timeout_s = timeout_s
        self._concurrency = concurrency
        self._bearer_token_file = bearer_token_file
        self._headers = dict(headers or {})
        self._long = _LongWindow()
        self._told_windows = ""
        self._connection = PrometheusConnect(
            url=self.url,
            disable_ssl=not verify_tls,
            headers=dict(self._headers),
            timeout=timeout_s,
            retry=Retry(total=1, backoff_factor=0.1, status_forcelist=(502, 503, 504), raise_on_status=False),
        )

    def close(self) -> None:
        self._connection.close()

    async def read(self, fleets: Sequence[Fleet]) -> Mapping[FleetKey, FleetMetrics | MetricsGap]:
        if not fleets:
            return {}
        try:
            answers = await self._round()
        except QueryFailed as failure:
            gap = MetricsGap(
                code="PrometheusUnreachable",
                sentence=f"Prometheus at {self.url} cannot be queried: {failure}; check the address, that the server "
                f"runs, and that a network policy lets the operator reach it",
            )
            return {fleet.key: gap for fleet in fleets}
        return {fleet.key: assemble(fleet.key, answers, self._queries) for fleet in fleets}

    async def history(self, fleets: Sequence[Fleet], at_s: float) -> Mapping[FleetKey, History]:
        """Arrivals of the past. Never raises: a fleet that could not be asked about is left out."""
        if not fleets:
            return {}
        gate = asyncio.Semaphore(self._concurrency)

        async def ask(query: str, start_s: float, end_s: float, step_s: float) -> Vector:
            async with gate:
                return await asyncio.to_thread(self._ask_range, query, start_s, end_s, step_s)

        try:
            self._connection.headers = await asyncio.to_thread(self._current_headers)
        except QueryFailed as failure:
            log.warning("The history of arrivals cannot be read: %s", failure)
            return {}
        keys = [fleet.key for fleet in fleets]
        found, failed = await read_history(ask, self._queries, keys, at_s=at_s, deadline_s=2 * self._timeout_s)
        for each in failed:
            if not isinstance(each.failure, (QueryFailed, TimeoutError)):
                raise each.failure
        if failed:
            names = ", ".join(each.name for each in failed)
            log.warning("The history of arrivals is incomplete (%s not answered): %s", names, failed[0].failure)
        return found

    async def _round(self) -> Answers:
        self._connection.headers = await asyncio.to_thread(self._current_headers)
        asked = self._queries
        pools = {
            "newest": asked.newest(),
            "oldest": asked.oldest(),
            "engines": asked.engines(),
            "running": asked.running(),
            "waiting": asked.waiting(),
            "kv_cache_usage_mean": asked.kv_cache_usage_mean(),
            "kv_cache_usage_max": asked.kv_cache_usage_max(),
        }
        fleets = {
            "completions": asked.completions(),
            "in_system_growth": asked.in_system_growth(),
            "prompt_tokens": asked.prompt_tokens(),
            "output_tokens": asked.output_tokens(),
            "preemptions": asked.preemptions(),
            "prefix_hit_ratio": asked.prefix_hit_ratio(),
        }
        shapes = {name: asked.histogram(name) for name in ("prompt_length", "output_length", "ttft", "itl", "e2e")}
        found = await self._ask_all({**pools, **fleets, **shapes})
        await self._refresh_long_window()
        evaluated_at_s = parse.evaluated_at(found["newest"])
        windows = {} if evaluated_at_s is None else await self._pool_windows(evaluated_at_s)
        models = windows.pop("models", [])
        return Answers(
            at_s=evaluated_at_s or time.time(),
            pools={name: parse.by_pool(found[name], self._words) for name in pools},
            fleets={name: parse.by_fleet(found[name], self._words) for name in fleets},
            histograms={name: parse.histograms(found[name], self._words) for name in shapes} | self._long.histograms,
            windows={name: parse.by_pool(vector, self._words) for name, vector in windows.items()},
            models=parse.names_by_pool(models, self._words, MODEL_LABEL),
        )

    async def _pool_windows(self, at_s: float) -> dict[str, Vector]:
        """By the names of `PoolWindow`, all at one moment: sums and counts must be of the same samples.

        What calibration needs must not cost what planning needs: a failure here leaves it without windows.
        """
        asked = self._queries
        try:
            return await self._ask_all(
                {
                    "requests_per_s": asked.pool_completions(),
                    "prompts_per_s": asked.pool_rate("ttft", "_count"),
                    "prompt_tokens_per_s": asked.pool_rate("prompt_tokens"),
                    "output_tokens_per_s": asked.pool_rate("output_tokens"),
                    "scheduled_tokens_per_s": asked.pool_rate("scheduled_tokens"),
                    "prefix_hit_ratio": asked.pool_prefix_hit_ratio(),
                    "preemptions_per_s": asked.pool_rate("preemptions"),
                    "itl_seconds_per_s": asked.pool_rate("itl", "_sum"),
                    "itl_intervals_per_s": asked.pool_rate("itl", "_count"),
                    "prefill_seconds_per_s": asked.pool_rate("prefill", "_sum"),
                    "prefills_per_s": asked.pool_rate("prefill", "_count"),
                    "ttft_seconds_per_s": asked.pool_rate("ttft", "_sum"),
                    "running_early": asked.pool_mean("running", 0.5, 0.5),
                    "running_late": asked.pool_mean("running", 0.5),
                    "waiting_mean": asked.pool_mean("waiting"),
                    "resets": asked.pool_resets(),
                    "models": asked.pool_models(),
                },
                at_s,
            )
        except QueryFailed as failure:
            if str(failure) != self._told_windows:
                log.warning("Windows of pools cannot be read, so nothing is calibrated: %s", failure)
            self._told_windows = str(failure)
            return {}

    async def _refresh_long_window(self) -> None:
        """A server that refuses the long window (too many samples) must not cost the short one."""
        at_s = time.monotonic()
        if at_s - self._long.at_s < self._attainment_every_s:
            return
        window_s = self._attainment_window_s
        try:
            found = await self._ask_all(
                {name: self._queries.histogram(metric, window_s) for name, metric in _LONG.items()}
            )
        except QueryFailed as failure:
            log.warning("Attainment over %d s cannot be read: %s", window_s, failure)
            found = {name: [] for name in _LONG}
        self._long.histograms = {name: parse.histograms(vector, self._words) for name, vector in found.items()}
        self._long.at_s = at_s

    async def _ask_all(self, queries: Mapping[str, str], at_s: float | None = None) -> dict[str, Vector]:
        """All answers, or `QueryFailed` with the first reason. The server's clock is the only one that counts: `at_s`
        is a time that it told."""
        gate = asyncio.Semaphore(self._concurrency)

        async def ask(query: str) -> Vector:
            async with gate:
                return await asyncio.to_thread(self._ask, query, at_s)

        try:
            async with asyncio.timeout(self._timeout_s * 3), asyncio.TaskGroup() as group:
                tasks = {name: group.create_task(ask(query)) for name, query in queries.items()}
        except TimeoutError as error:
            raise QueryFailed(f"no answer to a round of queries within {self._timeout_s * 3:.0f} s") from error
        except BaseExceptionGroup as errors:
            failures, others = errors.split(QueryFailed)
            if others is not None or failures is None:
                raise
            raise _first(failures) from failures
        return {name: task.result() for name, task in tasks.items()}

    def _ask(self, query: str, at_s: float | None = None) -> Vector:
        params = {"timeout": f"{self._timeout_s:g}s"} | ({} if at_s is None else {"time": f"{at_s:.3f}"})
        return self._answer(lambda: self._connection.custom_query(query, params=params))

    def _ask_range(self, query: str, start_s: float, end_s: float, step_s: float) -> Vector:
        start, end = (datetime.fromtimestamp(at_s, UTC) for at_s in (start_s, end_s))
        params = {"timeout": f"{self._timeout_s:g}s"}
        return self._answer(
            lambda: self._connection.custom_query_range(query, start, end, f"{step_s:g}", params=params)
        )

    def _answer(self, ask: Callable[[], Any]) -> Vector:
        try:
            result = ask()
        except (requests.RequestException, PrometheusApiClientException, KeyError, ValueError, TypeError) as error:
            raise QueryFailed(_reason(error)) from error
        if not isinstance(result, list):
            raise QueryFailed(f"unexpected answer of type {type(result).__name__}")
        return result

    def _current_headers(self) -> dict[str, str]:
        """The token is read again each round: projected ServiceAccount tokens are replaced every hour."""
        if self._bearer_token_file is None:
            return self._headers
        try:
            token = self._bearer_token_file.read_text().strip()
        except OSError as error:
            raise QueryFailed(f"the bearer token file cannot be read: {error}") from error
        return {**self._headers, "Authorization": f"Bearer {token}"}


def _first(errors: BaseExceptionGroup[QueryFailed]) -> QueryFailed:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _reason(error: Exception) -> str:
    """The innermost cause in one line: `Connection refused` rather than three wrapped representations of it."""
    cause: BaseException = error
    while cause.__cause__ is not None or cause.__context__ is not None:
        cause = cause.__cause__ or cause.__context__ or cause
    inner = " ".join(str(cause).split())
    return (inner or type(error).__name__)[:300]
