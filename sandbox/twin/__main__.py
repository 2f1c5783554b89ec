"""`python -m sandbox.twin --kubeconfig FILE --scenario NAME [--seed N] [--out DIR] [--port N]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path

from sandbox.scenario import load_scenario
from sandbox.twin.control import Control
from sandbox.twin.kube import Kube
from sandbox.twin.world import World


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.twin", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--scenario", default="quickstart", help="a file, or a name in sandbox/scenarios")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("demo-report"), help="where results are written")
    parser.add_argument("--port", type=int, default=0, help="of the control endpoint; 0 picks one (see OUT/twin.json)")
    parser.add_argument("--until-done", action="store_true", help="end by itself when the scenario has ended")
    parser.add_argument("--log-level", default="INFO")
    return parser.parse_args()


async def amain(args: argparse.Namespace) -> int:
    scenario = load_scenario(args.scenario)
    args.out.mkdir(parents=True, exist_ok=True)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Kube(args.kubeconfig) as kube:
        world = World(kube, scenario, args.seed, args.out)
        control = Control(world)
        url = await control.open(args.port)
        (args.out / "twin.json").write_text(json.dumps({"url": url, "pid": os.getpid()}))
        print(f"twin: {scenario.name}, seed {args.seed}, control endpoint {url}", flush=True)
        running = asyncio.create_task(world.run())
        stopping = asyncio.create_task(stop.wait())
        ended = asyncio.create_task(_until_done(world)) if args.until_done else stopping
        await asyncio.wait({running, stopping, ended}, return_when=asyncio.FIRST_COMPLETED)
        for task in (stopping, ended):
            task.cancel()
        failed = running.done() and not running.cancelled() and running.exception() is not None
        if failed:
            logging.getLogger("sandbox.twin").error("the twin failed", exc_info=running.exception())
        running.cancel()
        await asyncio.wait({running})
        await world.close()
        await control.close()
    return 1 if failed else 0


async def _until_done(world: World) -> None:
    while world.phase != "done":
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    parsed = arguments()
    logging.basicConfig(level=parsed.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(asyncio.run(amain(parsed)))
