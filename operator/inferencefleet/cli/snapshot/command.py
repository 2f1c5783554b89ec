"""The command `snapshot`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from inferencefleet.cli.refusal import NothingThere, Refusal, refuse

SELECTOR = "app.kubernetes.io/name=inferencefleet,app.kubernetes.io/component=operator"


@click.command("snapshot", short_help="Save what the operator saw at its latest tick.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write it; packed when the name ends in .gz. Default: standard output.",
)
@click.option("-n", "--namespace", metavar="NAME", help="Namespace of the operator. Default: it is looked for.")
@click.option("--service", metavar="NAME", help="Its metrics Service. Default: it is looked for by its labels.")
@click.option("--context", metavar="NAME", help="Context of the kubeconfig. Default: the current one.")
def command(output: Path | None, namespace: str | None, service: str | None, context: str | None) -> None:
    """Fetch the snapshot of the latest tick from the operator, through the API server.

    It holds declarations, observations and what the planner remembers, and no secrets: values of environment variables
    are left out. Needs get on services/proxy in the operator's namespace.
    """  # fmt: skip
    if service is not None and namespace is None:
        raise Refusal("--service: needs --namespace as well; give both, or neither to look for the operator")
    text = json.dumps(_fetched(namespace, service, context), ensure_ascii=False, separators=(",", ":"))
    _checked(text)
    if output is None:
        click.echo(text)
        return
    from inferencefleet.cli.snapshots import write_snapshot_text

    write_snapshot_text(text, output)
    click.echo(f"{output}: {len(text) / 1e6:,.1f} MB of JSON; plan it again with kubectl fleet what-if", err=True)


def _checked(text: str) -> None:
    """A proxy answers for many: what is no snapshot must not be saved as one."""
    from inferencefleet.api.snapshot_codec import BadSnapshot, snapshot_from_json

    try:
        snapshot_from_json(text)
    except BadSnapshot as bad:
        raise NothingThere(f"the operator's answer cannot be used: {bad}") from None


def _fetched(namespace: str | None, service: str | None, context: str | None) -> object:
    import asyncio

    from inferencefleet.adapters.kubernetes.errors import ApiError, Forbidden, NotFound

    try:
        return asyncio.run(_fetch(namespace, service, context))
    except NotFound as error:
        raise refuse("--service", service, f"is not there ({error.message}); see kubectl get services -A") from None
    except Forbidden as error:
        raise NothingThere(
            f"the operator may not be asked ({error.message}); ask for list on services and get on services/proxy, or "
            "name it with --namespace and --service"
        ) from None
    except ApiError as error:
        raise NothingThere(
            f"no snapshot: {error.message}. Is the operator running (kubectl get pods -A -l {SELECTOR})? "
            "Set KUBECONFIG or --context for another cluster"
        ) from None


async def _fetch(namespace: str | None, service: str | None, context: str | None) -> object:
    from inferencefleet.adapters.kubernetes.kubeconfig import connect_as_user
    from inferencefleet.adapters.kubernetes.resources import SERVICES

    client, _ = await connect_as_user(context)
    try:
        if namespace is None or service is None:
            found = (await client.list_page(SERVICES, namespace=namespace, label_selector=SELECTOR)).items
            places = sorted((each["metadata"]["namespace"], each["metadata"]["name"]) for each in found)
            if len(places) != 1:
                said = ", ".join(f"{where}/{name}" for where, name in places) or "none"
                raise NothingThere(
                    f"one metrics Service of an operator is needed, found: {said}; name it with --namespace and "
                    "--service"
                )
            [(namespace, service)] = places
        return await client.proxied(namespace, service, "metrics", "snapshot")
    finally:
        await client.close()
