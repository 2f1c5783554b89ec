"""The subcommands of `python -m sandbox` that start, stop and show the cluster."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from sandbox.cluster import Cluster
from sandbox.errors import SandboxError
from sandbox.layout import Layout, Settings
from sandbox.stack import OPERATOR, REPOSITORY, TWIN, Stack, end_product
from sandbox.supervisor import ComponentStatus, Supervisor
from sandbox.toolchain import Toolchain, Versions, resolve

NOT_RUNNING = 3  # exit status of `status`, as for init scripts


@dataclass(frozen=True)
class Subcommand:
    """One subcommand: add its arguments, then run it; `run` returns the exit status."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def state_directory(args: argparse.Namespace) -> Path:
    return Path(args.state_dir) if args.state_dir else Layout.named(args.name).root


def where(parser: argparse.ArgumentParser) -> None:
    """The two arguments that say which sandbox is meant; every subcommand shares them."""
    parser.add_argument("--name", default="default", help="name of the sandbox (default: %(default)s)")
    parser.add_argument("--state-dir", help="state directory instead of .sandbox/<name> in the checkout")


def _up_arguments(parser: argparse.ArgumentParser) -> None:
    where(parser)
    parser.add_argument("--fresh", action="store_true", help="throw away what an earlier run left")
    parser.add_argument("--no-prometheus", action="store_true", help="the control plane only")
    parser.add_argument("--scrape-interval", type=float, default=2, metavar="SECONDS")
    parser.add_argument("--operator-metrics", metavar="HOST:PORT", help="scrape the operator's own metrics there")
    parser.add_argument(
        "--quickstart",
        action="store_true",
        help="also chart, operator, a cloud with traffic, and the quickstart",
    )


def _up(args: argparse.Namespace) -> int:
    settings = Settings(
        prometheus=not args.no_prometheus,
        scrape_interval_s=args.scrape_interval,
        operator_metrics=args.operator_metrics,
    )
    tools = resolve()
    started = time.monotonic()
    cluster = Cluster.start(state_directory(args), detached=True, settings=settings, fresh=args.fresh, tools=tools)
    took = f"started in {time.monotonic() - started:.1f} s" if cluster.owned else "already running"
    print(describe(cluster, took))
    if args.quickstart:
        print(_quickstart(Stack(cluster, detached=True)))
    return 0


def _quickstart(stack: Stack) -> str:
    """Leave operator and twin running beside the cluster; a second call changes nothing."""
    twin_file = stack.layout.root / "twin" / "twin.json"
    if stack.record(OPERATOR) is None or stack.record(TWIN) is None:
        stack.stop()
        stack.install()
        stack.start_twin("playground", out=twin_file.parent)
        stack.start_operator()
        for manifest in ("pools.yaml", "fleet.yaml"):
            stack.apply(REPOSITORY / "examples" / "quickstart" / manifest)
    twin = json.loads(twin_file.read_text())["url"]
    return "\n".join(
        [
            f"  operator    {stack.layout.log(OPERATOR)}",
            f"  export TWIN={twin}",
            "",
            "  kubectl get ifleet,gpool            what there is (first replicas serve after about 25 s)",
            "  kubectl describe ifleet chat        and why",
            """  curl -X POST $TWIN/demand -d '{"rps": 24}'    three times the traffic""",
        ]
    )


def describe(cluster: Cluster, headline: str) -> str:
    kubernetes = ".".join(str(part) for part in Versions.wanted().kubernetes)
    lines = [
        f"Sandbox {cluster.layout.root}: Kubernetes {kubernetes}, {headline}",
        f"  API server  {cluster.server_url}",
        f"  kubeconfig  {cluster.kubeconfig}",
    ]
    if cluster.state.settings.prometheus:
        lines.append(f"  Prometheus  {cluster.prometheus_url}")
    lines += [
        f"  logs        {cluster.layout.root / 'logs'}",
        "",
        f"  export KUBECONFIG={cluster.kubeconfig}",
        f"  export PATH={Path(cluster.tools.kubectl[0]).parent}:$PATH",
    ]
    return "\n".join(lines)


def _down_arguments(parser: argparse.ArgumentParser) -> None:
    where(parser)
    parser.add_argument("--keep-data", action="store_true", help="keep the cluster's objects for the next up")


def _down(args: argparse.Namespace) -> int:
    # Needs no toolchain: stopping must work even when the binaries are gone.
    layout = Layout(state_directory(args).resolve())
    if not layout.root.exists():
        print(f"No sandbox in {layout.root}")
        return 0
    product = end_product(layout)
    with layout.locked():
        stopped = product + Supervisor(layout, {}, detached=True).stop()
        if not args.keep_data:
            layout.wipe(keep_logs=True)
    print(f"Stopped {', '.join(stopped)}" if stopped else f"Nothing was running in {layout.root}")
    return 0


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    where(parser)
    parser.add_argument("--json", action="store_true")


def _status(args: argparse.Namespace) -> int:
    try:
        cluster = Cluster.attach(state_directory(args))
    except SandboxError as error:
        print(json.dumps({"running": False}) if args.json else error)
        return NOT_RUNNING
    found = cluster.status()
    if args.json:
        print(json.dumps({
            "running": True, "server": cluster.server_url, "kubeconfig": str(cluster.kubeconfig),
            "prometheus": cluster.prometheus_url if cluster.state.settings.prometheus else None,
            "components": [asdict(each) for each in found],
        }, indent=2))  # fmt: skip
    else:
        print(_table(found))
    return 0 if all(each.ready for each in found) else NOT_RUNNING


def _table(found: list[ComponentStatus]) -> str:
    rows = [f"{'COMPONENT':<26}{'PID':>8}{'MEMORY':>10}  STATE"]
    for each in found:
        memory = f"{each.resident_bytes / 2**20:.0f} MiB" if each.running else "-"
        rows.append(f"{each.name:<26}{each.pid or '-':>8}{memory:>10}  {each.detail}")
    total = sum(each.resident_bytes for each in found)
    rows.append(f"{'total':<34}{total / 2**20:>6.0f} MiB")
    return "\n".join(rows)


def _toolchain_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true")


def _toolchain(args: argparse.Namespace) -> int:
    found: Toolchain = resolve()
    table = asdict(found)
    if args.json:
        print(json.dumps(table, indent=2))
    else:
        for tool, command in table.items():
            print(f"{tool.replace('_', '-'):<26}{' '.join(command)}")
    return 0


COMMANDS = (
    Subcommand("up", "start the cluster and leave it running", _up_arguments, _up),
    Subcommand("down", "stop the cluster", _down_arguments, _down),
    Subcommand("status", "show the components, their memory and whether they are ready", _status_arguments, _status),
    Subcommand("toolchain", "find or build the binaries and say where they are", _toolchain_arguments, _toolchain),
)
