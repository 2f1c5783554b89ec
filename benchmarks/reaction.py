"""Seconds from a change of the spec to the changed Deployment.

    python -m benchmarks.reaction [--repetitions 25] [--fleets 1] [--seed 1]

`kubectl patch` changes `minReplicas`, then `engine.image`, at moments that have nothing to do with the operator's
period. One watch on fleets and one on Deployments tell when each change was there; both clocks are this process's.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.paper import Paper, Table, median, quantile
from benchmarks.stage import Stage, fleet, pools, stage
from sandbox.demo.sample import FLEETS
from sandbox.waiting import pause, wait_until
from sandbox.web import trust

PERIOD_S = 15.0
"""The default of the installation: a reaction that waited for the next period would show."""
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
NAME = "fleet-0000"
Condition = Callable[[dict[str, Any]], bool]


@dataclass(slots=True)
class Watch:
    """Arrival times of an API resource's events, newest last."""

    scene: Stage
    path: str
    _seen: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def start(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        cluster = self.scene.cluster
        tls = trust(cluster.ca_file, cluster.layout.config / "probe.pem")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls))
        try:
            with opener.open(f"{cluster.server_url}{self.path}?watch=true") as stream:
                for line in stream:
                    self._seen.append((time.monotonic(), json.loads(line)["object"]))
        except OSError:
            return  # the cluster went away: the benchmark has ended

    def first(self, since_s: float, holds: Condition) -> float | None:
        """When an object for which `holds` arrived, the first after `since_s`."""
        return next((at_s for at_s, found in list(self._seen) if at_s >= since_s and holds(found)), None)


@dataclass(frozen=True, slots=True)
class Reaction:
    """Seconds to the changed Deployment."""

    from_spec_s: float
    """From the moment that the new spec came out of the API server's watch."""
    from_kubectl_s: float
    """From the start of kubectl: what a user feels."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reaction")
    parser.add_argument("--repetitions", type=int, default=25)
    parser.add_argument("--fleets", type=int, default=1, help="fleets in the cluster; one of them changes")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    paper = Paper("reaction", "From a change of the spec to the Deployment", seed=args.seed)
    with stage(PERIOD_S) as scene:
        scene.apply(*pools(), *(fleet(f"fleet-{number:04}", replicas=2, most=99) for number in range(args.fleets)))
        found = measure(scene, args.repetitions, random.Random(args.seed))
    rows = [
        (changed, says, f"{len(values)}", *(f"{value:.2f}" for value in three(values)))
        for changed, reactions in found.items()
        for says, values in (
            ("the new spec is in the API server", [each.from_spec_s for each in reactions]),
            ("kubectl is started", [each.from_kubectl_s for each in reactions]),
        )
    ]
    paper.parts += [
        f"{args.fleets} fleet(s), a period of {PERIOD_S:g} s, changes at random moments of it. Seconds until the "
        "Deployment in the API server has the new number of replicas, or the new image.",
        Table(("changed field", "counted from", "repetitions", "median", "p95", "max"), rows),
        "The operator waits 0.25 s after a change for others that come with it; that is part of every figure.",
    ]
    paper.figures = {
        "fleets": args.fleets,
        "reactions": {
            name: [{"fromSpecSeconds": each.from_spec_s, "fromKubectlSeconds": each.from_kubectl_s} for each in values]
            for name, values in found.items()
        },
    }
    paper.write()
    return 0


def three(values: Sequence[float]) -> tuple[float, float, float]:
    return median(values), quantile(values, 0.95), max(values)


def measure(scene: Stage, repetitions: int, chance: random.Random) -> dict[str, list[Reaction]]:
    specs, deployments = Watch(scene, FLEETS), Watch(scene, DEPLOYMENTS)
    specs.start()
    deployments.start()
    wait_until(lambda: deployments.first(0, asks_for(2)), "the first Deployment", timeout_s=120)
    found: dict[str, list[Reaction]] = {"scaling.minReplicas": [], "engine.image": []}
    for number in range(repetitions):
        least, image = 3 + number, f"vllm/vllm-openai:v0.18.{2 + number}"
        found["scaling.minReplicas"].append(
            react(scene, specs, deployments, chance, {"scaling": {"minReplicas": least}}, asks_for(least))
        )
        found["engine.image"].append(
            react(scene, specs, deployments, chance, {"engine": {"image": image}}, runs(image))
        )
        print(number + 1, found["scaling.minReplicas"][-1], found["engine.image"][-1], flush=True)
    return found


def react(
    scene: Stage, specs: Watch, deployments: Watch, chance: random.Random, change: dict[str, Any], done: Condition
) -> Reaction:
    pause(chance.uniform(1.5, 4.0))
    patch = json.dumps({"spec": change})
    began = time.monotonic()
    scene.cluster.kubectl("patch", "inferencefleet", NAME, "--type=merge", "-p", patch)
    spec_s = wait_until(lambda: specs.first(began, holds(change)), "the new spec", timeout_s=30, every_s=0.01)
    done_s = wait_until(
        lambda: deployments.first(began, done), f"the Deployment after {patch}", timeout_s=60, every_s=0.01
    )
    return Reaction(done_s - spec_s, done_s - began)


def holds(change: dict[str, Any]) -> Condition:
    """Whether a fleet's spec has exactly the changed values."""

    def found(fleet_: dict[str, Any]) -> bool:
        spec = fleet_["spec"]
        return fleet_["metadata"]["name"] == NAME and all(
            spec.get(part, {}).get(name) == value for part, values in change.items() for name, value in values.items()
        )

    return found


def mine(deployment: dict[str, Any]) -> bool:
    return any(str(owner["name"]) == NAME for owner in deployment["metadata"].get("ownerReferences", []))


def asks_for(replicas: int) -> Condition:
    return lambda deployment: mine(deployment) and int(deployment["spec"]["replicas"]) == replicas


def runs(image: str) -> Condition:
    return lambda deployment: (
        mine(deployment)
        and any(container["image"] == image for container in deployment["spec"]["template"]["spec"]["containers"])
    )


if __name__ == "__main__":
    sys.exit(main())
