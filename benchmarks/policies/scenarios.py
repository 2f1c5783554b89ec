"""The eleven scenarios: traffic, clouds and what goes wrong. Each scene is a function of a seed."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.policies import arrivals as making
from benchmarks.policies import traces
from benchmarks.policies.arrivals import Step
from benchmarks.policies.cast import CHAT, LLM_D, MOONCAKE, WEEKLY, on_demand, reserved, spot
from benchmarks.policies.markets import MARKETS, Market, availability
from benchmarks.policies.scenes import Options, Published, Scene, actor
from inferencefleet.domain.fleet import Fleet, Routing, ScalingTerms
from inferencefleet.simulator.replay.stage import Delay, Loss, Span, Stage

CHAT_PER_REPLICA = 9.0
"""Requests/s of one replica at Azure's lengths, about: how large the stages are follows from it, nothing else."""
LLM_D_PER_REPLICA = 1.3
MOONCAKE_PER_REPLICA = 1.7
WEEKLY_PER_REPLICA = 0.6
AZURE_MEAN_PER_S = 19366 / traces.AZURE_LASTS_S
WEEK_S = 7 * 86400.0
MILD_INTERRUPTIONS_PER_NODE_HOUR = 0.05


def llm_d(seed: int, options: Options) -> Stage:
    rates, spans = (2, 4, 6, 8, 10, 4, 1), (330, 360, 360, 360, 360, 360, 300)
    # Never shortened: a steeper ramp would be another scenario.
    traffic = making.made(traces.steps_of(rates, spans), traces.fixed_lengths(4000, 1000), seed)
    pools = (on_demand(8, LLM_D, provisioning=Delay(p50_s=0.0, p95_s=0.0)),)

    def bounded(fleet: Fleet) -> Fleet:
        return replace(fleet, scaling=ScalingTerms(min_replicas=3, max_replicas=8))

    cast = actor(
        LLM_D, traffic, pools, seed, per_replica=LLM_D_PER_REPLICA, first_per_s=2.0, changed=bounded,
        start_up=Delay(p50_s=100.0, p95_s=110.0),
    )  # fmt: skip
    return Stage(name="llm-d", fleets=(cast,), pools=pools, duration_s=sum(spans))


def azure(seed: int, options: Options, *, need: int, lasts_s: float) -> Stage:
    lasts_s = options.shortened(lasts_s)
    factor = need * CHAT_PER_REPLICA / AZURE_MEAN_PER_S
    traffic = making.scaled(making.window(traces.azure(), 0, lasts_s), factor, lasts_s, seed)
    pools = (
        reserved(max(1, need // 2)),
        on_demand(4 * need),
        spot(4 * need, interruptions_per_node_hour=MILD_INTERRUPTIONS_PER_NODE_HOUR),
    )
    cast = actor(CHAT, traffic, pools, seed, per_replica=CHAT_PER_REPLICA)
    return Stage(name=f"azure-{need}", fleets=(cast,), pools=pools, duration_s=lasts_s)


def week(seed: int, options: Options, *, pool: str, mean_per_s: float) -> Stage:
    """m-small's own requests (130 tokens in, 20 out) would need less than one replica: it lends its curve only."""
    lasts_s = options.shortened(WEEK_S)
    # Two weeks of m-small are recorded; the seed says where in the record the week begins, always at midnight.
    from_s = 86400.0 * (seed % 7)
    lengths = traces.servegen_lengths("m-large", from_s=from_s)
    traffic = traces.servegen(
        pool, mean_requests_per_s=mean_per_s, from_s=from_s, lasts_s=lasts_s, seed=seed, lengths=lengths
    )
    traffic = making.fitting(traffic, WEEKLY.limits.max_model_len_tokens)
    need = math.ceil(mean_per_s / WEEKLY_PER_REPLICA)
    pools = (
        reserved(max(1, need // 2), WEEKLY),
        on_demand(6 * need, WEEKLY),
        spot(6 * need, WEEKLY, interruptions_per_node_hour=MILD_INTERRUPTIONS_PER_NODE_HOUR),
    )
    cast = actor(WEEKLY, traffic, pools, seed, per_replica=WEEKLY_PER_REPLICA)
    return Stage(
        name=pool, fleets=(cast,), pools=pools, duration_s=lasts_s, period_s=120.0, scrape_s=60.0, rate_window_s=120.0
    )


def mooncake(seed: int, options: Options) -> Stage:
    lasts_s = options.shortened(traces.MOONCAKE_LASTS_S)
    traffic = making.scaled(traces.mooncake(seed), 3.0, traces.MOONCAKE_LASTS_S, seed)
    traffic = making.fitting(making.window(traffic, 0, lasts_s), MOONCAKE.limits.max_model_len_tokens)
    pools = (reserved(3, MOONCAKE), on_demand(20, MOONCAKE))
    cast = actor(
        MOONCAKE, traffic, pools, seed, per_replica=MOONCAKE_PER_REPLICA,
        changed=lambda fleet: replace(fleet, routing=Routing.PREFIX_AWARE),
    )  # fmt: skip
    return Stage(name="mooncake", fleets=(cast,), pools=pools, duration_s=lasts_s)


def flash(seed: int, options: Options) -> Stage:
    lasts_s = options.shortened(3600.0)
    unit_s, base = lasts_s / 60, 18.0
    rise = [Step(5.0, base * (1 + 4 * (index + 0.5) / 12)) for index in range(12)]
    fall = [Step(unit_s / 4, base * (5 - 4 * (index + 0.5) / 20)) for index in range(20)]
    spent_s = sum(step.lasts_s for step in rise)
    steps = [Step(20 * unit_s, base), *rise, Step(20 * unit_s - spent_s, 5 * base), *fall, Step(15 * unit_s, base)]
    traffic = making.made(steps, traces.azure_lengths, seed)
    pools = (reserved(3), on_demand(30))
    cast = actor(CHAT, traffic, pools, seed, per_replica=CHAT_PER_REPLICA)
    return Stage(name="flash-crowd", fleets=(cast,), pools=pools, duration_s=lasts_s)


def drift(seed: int, options: Options) -> Stage:
    lasts_s = options.shortened(3600.0)
    traffic = making.made([Step(lasts_s, 25.0)], traces.azure_lengths, seed)
    longer = 1 + 3 * np.clip((traffic.arrival_s / lasts_s - 1 / 6) / (2 / 3), 0.0, 1.0)
    declared = making.window(traffic, 0, lasts_s / 6)
    traffic = making.fitting(making.with_prompts(traffic, longer), CHAT.limits.max_model_len_tokens)
    pools = (reserved(3), on_demand(30))
    cast = actor(CHAT, declared, pools, seed, per_replica=CHAT_PER_REPLICA)
    return Stage(name="length-drift", fleets=(replace(cast, arrivals=traffic),), pools=pools, duration_s=lasts_s)


def spot_market(seed: int, options: Options, *, market: Market) -> Stage:
    lasts_s = options.shortened(2 * 3600.0)
    chance = np.random.default_rng(seed)
    phase = chance.uniform(0, 2 * math.pi)
    steps = [
        Step(300.0, 27.0 * (1 + 0.35 * math.sin(phase + 2 * math.pi * index * 300.0 / lasts_s)))
        for index in range(math.ceil(lasts_s / 300.0))
    ]
    traffic = making.window(making.made(steps, traces.azure_lengths, seed), 0, lasts_s)
    series = availability(market, lasts_s=lasts_s, seed=seed, data=options.spot_data)
    pools = (reserved(1), on_demand(30), spot(market.most_nodes * market.scale, availability=series))
    cast = actor(CHAT, traffic, pools, seed, per_replica=CHAT_PER_REPLICA)
    return Stage(name=f"spot-{market.name}", fleets=(cast,), pools=pools, duration_s=lasts_s)


def half_gone(seed: int, options: Options) -> Stage:
    """Four of eight reserved nodes vanish after 20 minutes, while on-demand has been out of stock for 5."""
    lasts_s = options.shortened(5400.0)
    unit_s = lasts_s / 90
    steps = [
        Step(unit_s, 45.0 * (1 + 0.15 * math.sin(2 * math.pi * minute / 45)))
        for minute in range(round(lasts_s / unit_s))
    ]
    traffic = making.made(steps, traces.azure_lengths, seed)
    pools = (
        reserved(8, losses=(Loss(at_s=20 * unit_s, nodes=4, back_s=80 * unit_s),)),
        on_demand(30, stock_outs=(Span(15 * unit_s, 55 * unit_s),)),
        spot(8, interruptions_per_node_hour=0.2),
    )
    cast = actor(CHAT, traffic, pools, seed, per_replica=CHAT_PER_REPLICA)
    return Stage(name="half-gone", fleets=(cast,), pools=pools, duration_s=lasts_s)


PRIORITIES = {"chat": 100, "search": 50, "report": 0}


def three_fleets(seed: int, options: Options) -> Stage:
    """Ten reserved nodes and four on-demand ones; the three peaks come after each other and overlap beyond both."""
    lasts_s = options.shortened(3600.0)
    pools = (reserved(10), on_demand(4))
    cast = []
    for number, (name, priority) in enumerate(PRIORITIES.items()):
        steps = [
            Step(60.0, 34.0 + 26.0 * math.sin(2 * math.pi * (index * 60.0 / lasts_s - 0.12 * number)))
            for index in range(math.ceil(lasts_s / 60.0))
        ]
        traffic = making.window(making.made(steps, traces.azure_lengths, seed + 101 * number), 0, lasts_s)
        each = actor(
            CHAT, traffic, pools, seed + number, per_replica=CHAT_PER_REPLICA, name=name,
            changed=lambda fleet, priority=priority: replace(fleet, priority=priority),
        )  # fmt: skip
        cast.append(replace(each, initial={"reserved": (4, 3, 3)[number]}))
    return Stage(name="three-fleets", fleets=tuple(cast), pools=pools, duration_s=lasts_s)


def blind(seed: int, options: Options) -> Stage:
    """Prometheus is silent for five minutes while traffic climbs from 12 to 72 requests/s within twenty."""
    lasts_s = options.shortened(3600.0)
    unit_s = lasts_s / 60
    climb = [Step(unit_s / 2, 12.0 + 60.0 * (index + 0.5) / 40) for index in range(40)]
    steps = [Step(10 * unit_s, 12.0), *climb, Step(20 * unit_s, 72.0), Step(10 * unit_s, 30.0)]
    traffic = making.made(steps, traces.azure_lengths, seed)
    pools = (reserved(3), on_demand(30))
    cast = actor(CHAT, traffic, pools, seed, per_replica=CHAT_PER_REPLICA)
    gap = Span(18 * unit_s, 23 * unit_s)
    return Stage(name="blind", fleets=(cast,), pools=pools, duration_s=lasts_s, blind=(gap,))


def wrong_prior(seed: int, options: Options, *, factor: float) -> Stage:
    lasts_s = options.shortened(3600.0)
    traffic = making.scaled(traces.azure(), 45.0 / factor / AZURE_MEAN_PER_S, traces.AZURE_LASTS_S, seed)
    traffic = making.window(traffic, 0, min(lasts_s, traces.AZURE_LASTS_S))
    pools = (reserved(3), on_demand(30))
    # Rates are in proportion to what a replica truly takes, so that both stages are as large.
    cast = actor(CHAT, traffic, pools, seed, per_replica=CHAT_PER_REPLICA / factor, factor=factor)
    duration_s = min(lasts_s, traces.AZURE_LASTS_S)
    return Stage(name=f"prior-{factor:g}", fleets=(cast,), pools=pools, duration_s=duration_s)


SMOOTH, ROUGH = 1.10, 1.25

SCENES: tuple[Scene, ...] = (
    Scene(
        scenario=1, name="llm-d", build=llm_d, requests=12_500, ticks=162,
        published=Published("llmd-slo", 0.958, 5.93, "llm-d/llm-d, workload-autoscaling/slo-aware, BENCHMARK.md"),
        sentence="llm-d's published ramp: Qwen3-32B on 2 x H100, 4000 prompt and 1000 output tokens, 2 to 10 "
        "requests/s, 3 to 8 replicas, 100 s to warm up, TTFT 3 s and TPOT 100 ms",
    ),
    Scene(
        scenario=2, name="azure-5", build=partial(azure, need=5, lasts_s=traces.AZURE_LASTS_S),
        requests=158_000, ticks=234,
        sentence="Azure conversation at a mean need of about 5 replicas (superposed copies)",
    ),
    Scene(
        scenario=2, name="azure-20", build=partial(azure, need=20, lasts_s=1800.0), tuned_on="azure-5",
        requests=325_000, ticks=120,
        sentence="the first half hour of the same at about 20 replicas, with the settings tuned at 5",
    ),
    Scene(
        scenario=2, name="azure-80", build=partial(azure, need=80, lasts_s=900.0), tuned_on="azure-5",
        requests=560_000, ticks=60,
        sentence="the first quarter of an hour at about 80 replicas, with the settings tuned at 5",
    ),
    Scene(
        scenario=3, name="m-large", build=partial(week, pool="m-large", mean_per_s=2.4),
        requests=1_450_000, ticks=5_040, tuned_on="azure-5", matched=False,
        sentence="a week of ServeGen m-large, thinned to 2.4 requests/s: Qwen3-32B in FP8 on one L40S, with the "
        "settings tuned on azure-5",
    ),
    Scene(
        scenario=3, name="m-small", build=partial(week, pool="m-small", mean_per_s=2.4),
        requests=1_450_000, ticks=5_040, tuned_on="azure-5", matched=False,
        sentence="a week of the rates of ServeGen m-small with the lengths of m-large, tuned on azure-5 "
        "(its own requests are so short that one replica would do)",
    ),
    Scene(
        scenario=4, name="mooncake", build=mooncake, matched=False, requests=36_000, ticks=236,
        sentence="Mooncake conversations, three copies, prefix reuse, 4 x H100, TTFT 30 s and TPOT 200 ms",
    ),
    Scene(
        scenario=5, name="flash-crowd", build=flash, requests=160_000, ticks=240, most_over_optimum=ROUGH,
        matched=False,
        sentence="flash crowd: 18 to 90 requests/s within 60 s",
    ),
    Scene(
        scenario=6, name="length-drift", build=drift, matched=False, requests=90_000, ticks=240,
        sentence="prompts grow to four times their length within 40 minutes at 25 requests/s",
    ),
    *(
        Scene(
            scenario=7, name=f"spot-{market.name}", build=partial(spot_market, market=market), requests=195_000,
            matched=market is MARKETS[0],
            ticks=480, most_over_optimum=ROUGH, tuned_on=None if market is MARKETS[0] else f"spot-{MARKETS[0].name}",
            sentence=f"{market.name} spot market for two hours ({market.sentence})",
        )
        for market in MARKETS
    ),
    Scene(
        scenario=8, name="half-gone", build=half_gone, requests=243_000, ticks=360, most_over_optimum=ROUGH,
        matched=False,
        sentence="half of the reserved nodes gone for an hour, on-demand out of stock for 40 minutes",
    ),
    Scene(
        scenario=9, name="three-fleets", build=three_fleets, requests=367_000, ticks=240, most_over_optimum=None,
        matched=False,
        sentence="three fleets with priorities 100, 50 and 0 on ten reserved and four on-demand nodes",
    ),
    Scene(
        scenario=10, name="blind", build=blind, matched=False, requests=180_000, ticks=240, most_over_optimum=ROUGH,
        sentence="Prometheus silent for five minutes in a ramp from 12 to 72 requests/s",
    ),
    Scene(
        scenario=11, name="prior-slow", build=partial(wrong_prior, factor=1.4), requests=113_000, ticks=234,
        matched=False,
        most_over_optimum=ROUGH, sentence="every step takes 40 % longer than the prior says",
    ),
    Scene(
        scenario=11, name="prior-fast", build=partial(wrong_prior, factor=0.6), requests=260_000, ticks=234,
        matched=False,
        most_over_optimum=ROUGH, tuned_on="prior-slow", sentence="every step takes 40 % less than the prior says",
    ),
)  # fmt: skip


def scenes_of(scenario: int | None) -> tuple[Scene, ...]:
    """All scenes, or those of one scenario."""
    found = tuple(scene for scene in SCENES if scenario in (None, scene.scenario))
    if not found:
        raise ValueError(f"--scenario {scenario}: there are scenarios 1 to {max(scene.scenario for scene in SCENES)}")
    return found
