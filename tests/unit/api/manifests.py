"""Manifests for tests: a good one of each kind, and bad ones that API server and converter must both refuse."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GONE = object()
"""As a change: the field is removed."""

Manifest = dict[str, Any]


def fleet(changes: Mapping[str, Any] | None = None) -> Manifest:
    """The shortest useful fleet, with `{"spec.scaling.minReplicas": 3}` applied."""
    return _changed(
        {
            "apiVersion": "inferencefleet.io/v1alpha1",
            "kind": "InferenceFleet",
            "metadata": {"name": "chat", "namespace": "default"},
            "spec": {
                "model": {"id": "Qwen/Qwen3-32B"},
                "slo": [
                    {"metric": "ttft", "percentile": 95, "target": "2s"},
                    {"metric": "itl", "percentile": 95, "target": "60ms"},
                ],
                "traffic": {
                    "expected": {
                        "requestsPerSecond": 4,
                        "promptTokens": {"mean": 1000, "p95": 3000},
                        "outputTokens": {"mean": 250, "p95": 800},
                    }
                },
            },
        },
        changes or {},
    )


def pool(changes: Mapping[str, Any] | None = None) -> Manifest:
    """The shortest useful pool, changed as told."""
    return _changed(
        {
            "apiVersion": "inferencefleet.io/v1alpha1",
            "kind": "GPUPool",
            "metadata": {"name": "h100-spot"},
            "spec": {
                "gpu": {"type": "H100-SXM", "perNode": 8},
                "capacityType": "Spot",
                "price": {"perGPUHour": 1.9},
                "limits": {"gpus": 64},
            },
        },
        changes or {},
    )


def _changed(manifest: Manifest, changes: Mapping[str, Any]) -> Manifest:
    manifest = copy.deepcopy(manifest)
    for path, value in changes.items():
        node: Any = manifest
        *parents, last = path.split(".")
        for part in parents:
            node = node[int(part)] if part.isdigit() else node.setdefault(part, {})
        if value is GONE:
            del node[last]
        elif last == "+":
            node.append(value)
        else:
            node[int(last) if last.isdigit() else last] = value
    return manifest


@dataclass(frozen=True)
class Bad:
    """One mistake: who makes it, and the words that its refusal must hold."""

    mistake: str
    manifest: Manifest
    server_says: tuple[str, ...]
    converter_says: tuple[str, ...]

    def __str__(self) -> str:
        return self.mistake


BAD_FLEETS = (
    Bad(
        "min above max",
        fleet({"spec.scaling.minReplicas": 9, "spec.scaling.maxReplicas": 3}),
        ("spec.scaling.minReplicas", "minReplicas is 9, above maxReplicas, 3", "lower minReplicas or raise"),
        ("spec.scaling.minReplicas='9'", "above maxReplicas, 3", "lower minReplicas or raise"),
    ),
    Bad(
        "two SLOs for one metric and percentile",
        fleet({"spec.slo.+": {"metric": "ttft", "percentile": 95, "target": "1s"}}),
        ("spec.slo[2]", "Duplicate value", "ttft"),
        ("spec.slo[2]='ttft p95'", "declared twice"),
    ),
    Bad(
        "a target without a unit",
        fleet({"spec.slo.0.target": "800"}),
        ("spec.slo[0].target", '"800" is not valid here', "for example 800ms"),
        ("spec.slo[0].target='800'", "a number with a unit", "800ms"),
    ),
    Bad(
        "a target of zero",
        fleet({"spec.slo.0.target": "0.0s"}),
        ("spec.slo[0].target", "target is 0.0s", "for example 800ms"),
        ("spec.slo[0].target='0.0s'", "longer than zero"),
    ),
    Bad(
        "a negative rate",
        fleet({"spec.traffic.expected.requestsPerSecond": -1}),
        ("spec.traffic.expected.requestsPerSecond", "greater than or equal to 0"),
        ("spec.traffic.expected.requestsPerSecond='-1'", "greater than or equal to 0"),
    ),
    Bad(
        "an unknown mode",
        fleet({"spec.scaling.mode": "auto"}),
        ("spec.scaling.mode", 'Unsupported value: "auto"', '"Recommend"'),
        ("spec.scaling.mode='auto'", "'Auto', 'Recommend' or 'Off'"),
    ),
    Bad(
        "an unknown percentile",
        fleet({"spec.slo.0.percentile": 80}),
        ("spec.slo[0].percentile", "Unsupported value: 80"),
        ("spec.slo[0].percentile='80'", "50, 90, 95 or 99"),
    ),
    Bad(
        "no SLO at all",
        fleet({"spec.slo": []}),
        ("spec.slo", "at least 1 items"),
        ("spec.slo='[]'", "at least 1 item"),
    ),
    Bad(
        "a tensor parallel size that is no power of two",
        fleet({"spec.engine.tensorParallelSize": 3}),
        ("spec.engine.tensorParallelSize", "Unsupported value: 3", '"auto"'),
        ("spec.engine.tensorParallelSize='3'", "'auto', 1, 2, 4 or 8"),
    ),
    Bad(
        "p95 below the mean",
        fleet({"spec.traffic.expected.promptTokens.p95": 900}),
        ("spec.traffic.expected.promptTokens.p95", "p95 is 900, below the mean, 1000", "leave it out"),
        ("spec.traffic.expected.promptTokens.p95='900.0'", "below the mean, 1000", "leave it out"),
    ),
    Bad(
        "p99 below p95",
        fleet({"spec.traffic.expected.outputTokens.p99": 500}),
        ("spec.traffic.expected.outputTokens.p99", "p99 is 500, below p95"),
        ("spec.traffic.expected.outputTokens.p99='500.0'", "below p95 or the mean, 800"),
    ),
    Bad(
        "an extra argument that hides the metrics",
        fleet({"spec.engine.extraArgs": ["--enforce-eager", "--disable-log-stats"]}),
        ("spec.engine.extraArgs", '"--disable-log-stats"', "remove it"),
        ("spec.engine.extraArgs[1]='--disable-log-stats'", "without metrics the fleet cannot be scaled"),
    ),
    Bad(
        "an extra argument that has a field, spelt with underscores",
        fleet({"spec.engine.extraArgs": ["--max_num_seqs=64"]}),
        ("spec.engine.extraArgs", '"--max_num_seqs=64"', "Use the field"),
        ("spec.engine.extraArgs[0]='--max_num_seqs=64'", "set spec.engine.maxNumSeqs"),
    ),
    Bad(
        "an extra argument that has a field, spelt as a key of its JSON",
        fleet({"spec.engine.extraArgs": ["--speculative-config.method=ngram"]}),
        ("spec.engine.extraArgs", '"--speculative-config.method=ngram"', "Use the field"),
        ("spec.engine.extraArgs[0]='--speculative-config.method=ngram'", "set spec.engine.speculative"),
    ),
    Bad(
        "speculation with a head that is not named",
        fleet({"spec.engine.speculative": {"method": "eagle3"}}),
        ("spec.engine.speculative.method", "method eagle3 needs a drafter", "use ngram"),
        ("spec.engine.speculative.method='eagle3'", "name it in spec.engine.speculative.model", "use ngram"),
    ),
    Bad(
        "speculation from the prompt with a drafter",
        fleet({"spec.engine.speculative": {"method": "ngram", "model": "acme/eagle"}}),
        ("spec.engine.speculative.model", "model is acme/eagle", "remove model"),
        ("spec.engine.speculative.model='acme/eagle'", "is not used by method ngram", "remove it"),
    ),
    Bad(
        "a speculative method that does not exist",
        fleet({"spec.engine.speculative": {"method": "crystal_ball"}}),
        ("spec.engine.speculative.method", 'Unsupported value: "crystal_ball"', '"draft_model"'),
        ("spec.engine.speculative.method='crystal_ball'", "'ngram', 'eagle'"),
    ),
    Bad(
        "more drafts than a step can verify",
        fleet({"spec.engine.speculative": {"method": "ngram", "tokens": 8}, "spec.engine.maxNumBatchedTokens": 2048}),
        ("spec.engine.speculative.tokens", "256 requests (maxNumSeqs)", "more than maxNumBatchedTokens, 2048"),
        ("spec.engine.speculative.tokens='8'", "above maxNumBatchedTokens, 2048", "lower tokens or maxNumSeqs"),
    ),
    Bad(
        "an acceptance in percent",
        fleet({"spec.engine.speculative": {"method": "ngram", "acceptance": 60}}),
        ("spec.engine.speculative.acceptance", "should be less than or equal to 1"),
        ("spec.engine.speculative.acceptance='60'", "less than or equal to 1"),
    ),
    Bad(
        "more sequences than tokens in a step",
        fleet({"spec.engine.maxNumSeqs": 512, "spec.engine.maxNumBatchedTokens": 256}),
        ("spec.engine.maxNumSeqs", "maxNumSeqs is 512, above maxNumBatchedTokens, 256"),
        ("spec.engine.maxNumSeqs='512'", "above maxNumBatchedTokens, 256"),
    ),
    Bad(
        "prefix hits without a prefix cache",
        fleet({"spec.engine.prefixCaching": False, "spec.traffic.expected.prefixHitRatio": 0.4}),
        ("spec.traffic.expected.prefixHitRatio", "prefixHitRatio is 0.4", "Set prefixHitRatio to 0"),
        ("spec.traffic.expected.prefixHitRatio='0.4'", "set prefixHitRatio to 0"),
    ),
    Bad(
        "a name that no Service can have",
        fleet({"metadata.name": "chat.v2"}),
        ('the name "chat.v2" cannot be used', "starting with a letter"),
        ("metadata.name='chat.v2'", "starting with a letter"),
    ),
    Bad(
        "the one name that breaks vLLM",
        fleet({"metadata.name": "vllm"}),
        ('the name "vllm" cannot be used', "VLLM_PORT"),
        ("metadata.name='vllm'", "VLLM_PORT"),
    ),
    Bad(
        "an attainment of one",
        fleet({"spec.attainment": 1}),
        ("spec.attainment", "1 is out of range: give a number from 0.5 to 0.9999"),
        ("spec.attainment='1'", "less than or equal to 0.9999"),
    ),
    Bad(
        "a horizon in words",
        fleet({"spec.scaling.horizon": "soon"}),
        ("spec.scaling.horizon", '"soon" is not valid here', "write auto, or a number"),
        ("spec.scaling.horizon='soon'", "a number with a unit"),
    ),
    Bad(
        "a model id that vLLM would read as a flag",
        fleet({"spec.model.id": "--trust-remote-code"}),
        ("spec.model.id", '"--trust-remote-code" is not valid here', "not starting with a dash"),
        ("spec.model.id='--trust-remote-code'", "not starting with a dash"),
    ),
    Bad(
        "an image with spaces",
        fleet({"spec.engine.image": "a b c"}),
        ("spec.engine.image", '"a b c" is not valid here', "for example vllm/vllm-openai"),
        ("spec.engine.image='a b c'", "for example vllm/vllm-openai"),
    ),
    Bad(
        "an environment variable that no container can have",
        fleet({"spec.engine.env": [{"name": "A=B", "value": "1"}]}),
        ("spec.engine.env[0].name", '"A=B" is not valid here', "for example HF_TOKEN"),
        ("spec.engine.env[0].name='A=B'", "for example HF_TOKEN"),
    ),
    Bad(
        "a start-up budget that no engine can meet",
        fleet({"spec.scaling.startup": "5s"}),
        ("spec.scaling.startup", "startup is 5s", "at least 1m"),
        ("spec.scaling.startup='5s'", "at least 1m"),
    ),
    Bad(
        "a drain of two days",
        fleet({"spec.scaling.drain": "48h"}),
        ("spec.scaling.drain", "drain is 48h", "at most 1h"),
        ("spec.scaling.drain='48h'", "at most 1h"),
    ),
    Bad(
        "a rate policy with a period of an hour",
        fleet(
            {"spec.scaling.behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 3600}]}}}
        ),
        ("spec.scaling.behavior.scaleUp.policies[0].periodSeconds", "should be less than or equal to 1800"),
        ("spec.scaling.behavior.scaleUp.policies[0].periodSeconds='3600'", "less than or equal to 1800"),
    ),
    Bad(
        "a rate policy in a unit that does not exist",
        fleet(
            {"spec.scaling.behavior": {"scaleDown": {"policies": [{"type": "GPUs", "value": 4, "periodSeconds": 60}]}}}
        ),
        ("spec.scaling.behavior.scaleDown.policies[0].type", 'Unsupported value: "GPUs"', '"Percent"'),
        ("spec.scaling.behavior.scaleDown.policies[0].type='GPUs'", "'Pods' or 'Percent'"),
    ),
    Bad(
        "a static fallback without a number",
        fleet({"spec.scaling.fallback": {"behavior": "static"}}),
        ("spec.scaling.fallback.behavior", "behavior static needs replicas"),
        ("spec.scaling.fallback.behavior='static'", "needs spec.scaling.fallback.replicas"),
    ),
    Bad(
        "a number for a fallback that holds",
        fleet({"spec.scaling.fallback": {"replicas": 4}}),
        ("spec.scaling.fallback.replicas", "replicas is 4, and only behavior static uses it"),
        ("spec.scaling.fallback.replicas='4'", "is not used by behavior currentReplicasIfHigher"),
    ),
    Bad(
        "a schedule in six fields",
        fleet({"spec.traffic.schedule": [{"cron": "0 30 7 * * *", "duration": "1h", "requestsPerSecond": 4}]}),
        ("spec.traffic.schedule[0].cron", '"0 30 7 * * *" is not valid here', "five cron fields"),
        ("spec.traffic.schedule[0].cron='0 30 7 * * *'", "five cron fields"),
    ),
    Bad(
        "a window of two weeks",
        fleet({"spec.traffic.schedule": [{"cron": "0 7 * * *", "duration": "336h", "requestsPerSecond": 4}]}),
        ("spec.traffic.schedule[0].duration", "duration is 336h", "168h (a week)"),
        ("spec.traffic.schedule[0].duration='336h'", "from 1m to 168h"),
    ),
    Bad(
        "a time zone with a blank",
        fleet(
            {
                "spec.traffic.schedule": [
                    {"cron": "0 7 * * *", "timezone": "Central Time", "duration": "1h", "requestsPerSecond": 4}
                ]
            }
        ),
        ("spec.traffic.schedule[0].timezone", '"Central Time" is not valid here', "for example UTC"),
        ("spec.traffic.schedule[0].timezone='Central Time'", "an IANA time zone"),
    ),
    Bad(
        "a routing that does not exist",
        fleet({"spec.traffic.routing": "RoundRobin"}),
        ("spec.traffic.routing", 'Unsupported value: "RoundRobin"', '"Uniform"'),
        ("spec.traffic.routing='RoundRobin'", "'Uniform', 'LoadAware' or 'PrefixAware'"),
    ),
    Bad(
        "a budget of nothing",
        fleet({"spec.budget": {}}),
        ("spec.budget", "budget is empty: give maxHourly or maxMonthly"),
        ("spec.budget='{}'", "give maxHourly or maxMonthly"),
    ),
)
