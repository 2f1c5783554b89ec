"""The command `explain`."""

from __future__ import annotations

from pathlib import Path

import click

from inferencefleet.cli.explain.recompute import Verdict, recompute
from inferencefleet.cli.explain.source import Found, from_cluster, from_file
from inferencefleet.cli.explain.view import document, show
from inferencefleet.cli.options import output_option
from inferencefleet.cli.output import write_document
from inferencefleet.cli.refusal import NothingThere, Refusal, refuse_problems


@click.command("explain", short_help="Why a fleet is as large as it is, recomputed.")
@click.argument("fleet", required=False, metavar="[FLEET]")
@click.option("-n", "--namespace", metavar="NAME", help="Namespace. Default: that of the context.")
@click.option("--context", metavar="NAME", help="Context of the kubeconfig. Default: the current one.")
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="A saved fleet instead of a cluster (kubectl get ifleet NAME -o json); - is stdin.",
)
@output_option
@click.pass_context
def command(
    ctx: click.Context, /, fleet: str | None, namespace: str | None, context: str | None, file: Path | None, form: str
) -> None:  # fmt: skip
    """Print how demand became replicas for a live FLEET, and do the sum again.

    Capacity, planned rate, replicas and cost are recomputed from spec, status.observed and status.calibration, and
    compared field by field. Exit code 1 when something differs, 3 when there is nothing to explain.
    """
    if file is not None and (namespace is not None or context is not None):
        raise Refusal("--file: excludes --namespace and --context; give either a file or a place in a cluster")
    found = from_file(file, fleet) if file is not None else from_cluster(fleet, namespace, context)
    if not _explain(found, form):
        ctx.exit(1)


def _explain(found: Found, form: str) -> bool:
    """Whether nothing differs."""
    from inferencefleet.api.convert import fleet_from_manifest, pool_from_manifest
    from inferencefleet.domain.fleet import Fleet
    from inferencefleet.domain.pool import Pool

    fleet = fleet_from_manifest(found.fleet)
    if not isinstance(fleet, Fleet):
        raise refuse_problems(fleet, found.source)
    status = found.fleet.get("status")
    if not isinstance(status, dict) or not (status.get("plan") or status.get("sizing")):
        raise NothingThere(
            f"{fleet.key}: has no status.plan yet; the operator has not looked at it (is it running? kubectl get pods "
            "-A -l app.kubernetes.io/name=inferencefleet)"
        )
    pools = {pool.name: pool for pool in map(pool_from_manifest, found.pools) if isinstance(pool, Pool)}
    replicas, checks = recompute(fleet, status, pools)
    if form == "table":
        show(fleet, found.source, status, replicas, checks)
    else:
        write_document(document(fleet, found.source, status, replicas, checks), form)
    return not any(check.verdict is Verdict.DIFFERS for check in checks)
