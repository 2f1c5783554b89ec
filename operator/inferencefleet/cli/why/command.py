"""The command `why`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from inferencefleet.cli.explain.source import Found, from_cluster, from_file
from inferencefleet.cli.options import output_option
from inferencefleet.cli.output import write_document
from inferencefleet.cli.refusal import NothingThere, Refusal, refuse_problems


@click.command("why", short_help="Why a fleet is as large as it is, in ten lines.")
@click.argument("fleet", required=False, metavar="[FLEET]")
@click.option("-n", "--namespace", metavar="NAME", help="Namespace. Default: that of the context.")
@click.option("--context", metavar="NAME", help="Context of the kubeconfig. Default: the current one.")
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="A saved fleet instead of a cluster (kubectl get ifleet,gpool -o json); - is stdin.",
)
@output_option
def command(fleet: str | None, namespace: str | None, context: str | None, file: Path | None, form: str) -> None:
    """Say in at most ten lines why FLEET has the replicas it has, and what would change that.

    Everything is read from status; kubectl fleet explain does the sums again. With the GPUPools in the file, or the
    right to list them, the room that is left in a pool is told as well.
    """
    if file is not None and (namespace is not None or context is not None):
        raise Refusal("--file: excludes --namespace and --context; give either a file or a place in a cluster")
    found = from_file(file, fleet) if file is not None else from_cluster(fleet, namespace, context)
    _answer(found, None if file is not None else time.time(), form)


def _answer(found: Found, now_s: float | None, form: str) -> None:
    from pydantic import ValidationError

    from inferencefleet.api.convert import fleet_from_manifest
    from inferencefleet.api.status_fleet import FleetStatus
    from inferencefleet.cli.why.lines import TOPIC_COLUMNS, lines
    from inferencefleet.domain.fleet import Fleet

    fleet = fleet_from_manifest(found.fleet)
    if not isinstance(fleet, Fleet):
        raise refuse_problems(fleet, found.source)
    content = found.fleet.get("status")
    if not isinstance(content, dict) or not (content.get("plan") or content.get("summary")):
        raise NothingThere(
            f"{fleet.key}: has no status.plan yet; the operator has not looked at it (is it running? kubectl get pods "
            "-A -l app.kubernetes.io/name=inferencefleet)"
        )
    try:
        status = FleetStatus.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Refusal(f"{found.source}: status.{where}={first['input']!r}: {first['msg']}; save it again") from None
    said = lines(fleet, status, _limits(found.pools), now_s=now_s)
    if form != "table":
        document = {
            "kind": "Why",
            "fleet": str(fleet.key),
            "source": found.source,
            "replicas": status.replicas,
            "reason": (status.summary and status.summary.reason) or (status.plan and status.plan.reason),
            "lines": [{"topic": line.topic, "text": line.text, "details": list(line.clauses)} for line in said],
        }
        write_document(document, form)
        return
    for line in said:
        click.echo(f"{line.topic:<{TOPIC_COLUMNS}}{line.text}")


def _limits(pools: tuple[dict[str, Any], ...]) -> dict[str, tuple[int, int]]:
    """GPUs planned by all fleets and the limit, of pools that have one."""
    found = {}
    for pool in pools:
        limit = ((pool.get("spec") or {}).get("limits") or {}).get("gpus")
        planned = ((pool.get("status") or {}).get("gpus") or {}).get("planned")
        if isinstance(limit, int) and isinstance(planned, int):
            found[str((pool.get("metadata") or {}).get("name"))] = (planned, limit)
    return found
