"""Where the fleet comes from: the cluster of the kubeconfig, a file, or standard input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inferencefleet.cli.refusal import NothingThere, Refusal

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One fleet with its status, and the pools that are known."""

    fleet: Manifest
    pools: tuple[Manifest, ...]
    source: str


def from_file(path: Path, name: str | None) -> Found:
    """From `kubectl get ifleet,gpool -o yaml` or JSON, with or without the pools."""
    from inferencefleet.cli.manifests import one_fleet, read_manifests

    manifests = read_manifests(path)
    return Found(
        fleet=one_fleet(manifests, path, name),
        pools=tuple(manifest for manifest in manifests if manifest.get("kind") == "GPUPool"),
        source="standard input" if str(path) == "-" else str(path),
    )


def from_cluster(name: str | None, namespace: str | None, context: str | None) -> Found:
    """From the API server. Raises `NothingThere` when it cannot be asked, or has no such fleet."""
    if name is None:
        raise Refusal("FLEET: is missing; give its name (kubectl get ifleet -A lists them), or -f status.json")
    import asyncio

    from inferencefleet.adapters.kubernetes.errors import ApiError, Forbidden, NotFound

    try:
        return asyncio.run(_read(name, namespace, context))
    except NotFound as error:
        raise NothingThere(f"FLEET={name}: is not there ({error.message}); see kubectl get ifleet -A") from None
    except Forbidden as error:
        raise NothingThere(f"FLEET={name}: may not be read ({error.message}); ask for get on inferencefleets") from None
    except ApiError as error:
        raise NothingThere(
            f"the cluster cannot be asked: {error.message}. Set KUBECONFIG or --context, or give a saved object: "
            "kubectl get ifleet NAME -o json | kubectl fleet explain -f -"
        ) from None


async def _read(name: str, namespace: str | None, context: str | None) -> Found:
    from inferencefleet.adapters.kubernetes.errors import Forbidden
    from inferencefleet.adapters.kubernetes.kubeconfig import connect_as_user
    from inferencefleet.adapters.kubernetes.resources import FLEETS, POOLS

    client, own_namespace = await connect_as_user(context)
    try:
        where = namespace or own_namespace
        fleet = await client.get(FLEETS, where, name)
        try:
            pools = (await client.list_page(POOLS)).items
        except Forbidden:
            pools = []  # a tenant may read fleets and not pools: status names the GPUs
        return Found(fleet=fleet, pools=tuple(pools), source=f"namespace {where}")
    finally:
        await client.close()
