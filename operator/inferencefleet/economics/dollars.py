"""Dollars and tokens: plain conversions, each with its unit in its name.

Prices are what the user gives or the catalogue lists; nothing here assumes one. Dollars stand for whatever one currency
they are in. Months have a length that the caller chooses: 730 hours is a year divided by 12, and 720 hours (30 days) is
used as often.
"""

from __future__ import annotations

from dataclasses import dataclass

HOURS_PER_MONTH = 730.0
HOURS_PER_30_DAYS = 720.0
SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiPrice:
    """What an API provider charges for a million prompt and a million output tokens, in dollars."""

    usd_per_million_prompt_tokens: float
    usd_per_million_output_tokens: float
    source: str = ""
    """Where the price is from, with a date: API prices halve within a year or so."""

    def usd_per_request(self, prompt_tokens: float, output_tokens: float) -> float:
        """Dollars of one request. Prompts count: in retrieval they are most of the tokens."""
        prompt = prompt_tokens * self.usd_per_million_prompt_tokens
        return (prompt + output_tokens * self.usd_per_million_output_tokens) / 1e6


def tokens_per_usd(tokens_per_s: float, usd_per_hour: float) -> float:
    """Tokens that one dollar buys at this speed and price."""
    return tokens_per_s * SECONDS_PER_HOUR / _positive("usd_per_hour", usd_per_hour, "give the price of an hour")


def tokens_per_s_per_usd_hour(tokens_per_s: float, usd_per_hour: float) -> float:
    """Tokens/s for each dollar per hour: `tokens_per_usd` / 3600, sometimes called tokens per dollar by mistake."""
    return tokens_per_usd(tokens_per_s, usd_per_hour) / SECONDS_PER_HOUR


def usd_per_million_tokens(usd_per_hour: float, tokens_per_s: float) -> float:
    """Dollars of a million tokens from hardware at this price and speed."""
    speed = _positive("tokens_per_s", tokens_per_s, "hardware that produces nothing has no price per token")
    return usd_per_hour / (speed * SECONDS_PER_HOUR) * 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrices:
    """What tokens of a fleet cost at the traffic it serves."""

    usd_per_million_output_tokens: float
    usd_per_million_tokens: float
    """Prompt tokens counted as well."""
    output_tokens_per_usd: float | None
    """None for a fleet that costs nothing."""


def token_prices(usd_per_hour: float, prompt_tokens_per_s: float, output_tokens_per_s: float) -> TokenPrices:
    """Prices of tokens that hardware of this price serves; idle capacity is paid by the tokens that there are."""
    return TokenPrices(
        usd_per_million_output_tokens=usd_per_million_tokens(usd_per_hour, output_tokens_per_s),
        usd_per_million_tokens=usd_per_million_tokens(usd_per_hour, prompt_tokens_per_s + output_tokens_per_s),
        output_tokens_per_usd=tokens_per_usd(output_tokens_per_s, usd_per_hour) if usd_per_hour > 0 else None,
    )


def tokens_per_s_for(usd_per_hour: float, target_usd_per_million_tokens: float) -> float:
    """Tokens/s at which hardware of this price reaches a target price per million tokens."""
    # The relation is symmetric: price x speed = dollars per hour.
    return usd_per_million_tokens(
        usd_per_hour, _positive("target_usd_per_million_tokens", target_usd_per_million_tokens, "give a price")
    )


def usd_per_month(usd_per_gpu_hour: float, gpus: float = 1, hours_per_month: float = HOURS_PER_MONTH) -> float:
    """Dollars of GPUs for a month; fewer hours for GPUs that run part of it."""
    return usd_per_gpu_hour * gpus * hours_per_month


def usd_per_request(monthly_usd: float, requests_per_month: float) -> float:
    """Dollars of one request when a month costs so much."""
    return monthly_usd / _positive(
        "requests_per_month", requests_per_month, "without requests there is no price of one"
    )


def blended_usd_per_million_tokens(share_small: float, small: float, large: float) -> float:
    """Price per million tokens when this share of them goes to a small model and the rest to a large one.

    Requests that are tried on the small model and then sent on cost both; they are not in here.
    """
    if not 0 <= share_small <= 1:
        raise ValueError(f"share_small = {share_small:g}: must be in 0..1; 0.6 sends 60 % to the small model")
    return share_small * small + (1 - share_small) * large


def tokens_per_s_per_gb(tokens_per_s: float, memory_bytes: float) -> float:
    """Tokens/s for each GB (1e9 bytes) of GPU memory."""
    return tokens_per_s / (_positive("memory_bytes", memory_bytes, "give the GPU's memory") / 1e9)


def usd_hour_per_gb(usd_per_hour: float, memory_bytes: float) -> float:
    """Dollars per hour for each GB (1e9 bytes) of GPU memory."""
    return usd_per_hour / (_positive("memory_bytes", memory_bytes, "give the GPU's memory") / 1e9)


def discounted(usd: float, off: float) -> float:
    """A price after a discount, `off` as a share: 0.4 is "40 % off"."""
    if not 0 <= off <= 1:
        raise ValueError(f"off = {off:g}: must be in 0..1; 0.4 is 40 % off")
    return usd * (1 - off)


def _positive(field: str, value: float, way_out: str) -> float:
    if not value > 0:
        raise ValueError(f"{field} = {value:g}: must be above 0; {way_out}")
    return value
