"""Run by a Python that has aiconfigurator 0.12 and none of ours: questions in, answers out, one JSON object a line.

A question: {"models": [names to try], "system", "backend", "isl", "osl", "batch", "tp", "moe", "gemm", "moe_quant"}.
An answer: {"ttft_ms", "tpot_ms", "version"} or {"error"}.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any


def main() -> None:
    """Answers until the input ends."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    core = import_module("aiconfigurator_core")
    configs = Path(str(core.__file__)).parent / "model_configs"
    known = {path.name.removesuffix("_config.json").replace("--", "/") for path in configs.glob("*_config.json")}
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), known)), flush=True)


def answer(question: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """One estimate by aiconfigurator's own defaults; any refusal of it becomes a text."""
    model = next((name for name in question["models"] if name in known), None)
    if model is None:
        return {"error": "model unknown to it"}
    moe = {"moe_tp_size": question["tp"], "moe_ep_size": 1} if question["moe"] else {}
    try:
        found = import_module("aiconfigurator.cli.api").cli_estimate(
            model_path=model,
            system_name=question["system"],
            backend_name=question["backend"],
            isl=question["isl"],
            osl=question["osl"],
            batch_size=question["batch"],
            tp_size=question["tp"],
            gemm_quant_mode=question["gemm"],
            moe_quant_mode=question["moe_quant"],
            **moe,
        )
    except Exception as error:  # Its refusals are of many types, and each is an answer here.
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"}
    return {
        "ttft_ms": float(found.ttft),
        "tpot_ms": float(found.tpot),
        "version": f"aiconfigurator {version('aiconfigurator')}, database {found.raw.get('version')}",
    }


if __name__ == "__main__":
    main()
