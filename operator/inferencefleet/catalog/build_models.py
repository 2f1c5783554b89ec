"""Write `data/models.json` from a folder of Hugging Face configs.

    python -m inferencefleet.catalog.build_models FOLDER

FOLDER holds files named `<organisation>--<name>.json`; the models of `data/models_by_hand.yaml` are added. A file that
cannot be represented is listed under `skipped` with the reason, so that a gap is visible. Not imported by the operator.
"""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path

import yaml

from inferencefleet.catalog.errors import UnsupportedArchitecture
from inferencefleet.catalog.hf_config import model_from_hf_config
from inferencefleet.catalog.model_record import to_record

SOURCE = "config.json as kept by ai-dynamo/aiconfigurator@095f58a5 (Apache-2.0), 2026-08-21"
SHAPES_SOURCE = "shapes of the published config.json, as used by inference-sim@f90a1e3a, 2026-08-22"

# Files of these prefixes name models without their organisation.
PREFIXES = ("blis--", "blis-training--")
FULL_IDS = {
    "codellama-34b-instruct-hf": "codellama/CodeLlama-34b-Instruct-hf",
    "deepseek-v2-lite": "deepseek-ai/DeepSeek-V2-Lite",
    "glm-5.2-fp8": "zai-org/GLM-5.2-FP8",
    "llama-2-7b-hf": "meta-llama/Llama-2-7b-hf",
    "llama-2-70b-hf": "meta-llama/Llama-2-70b-hf",
    "llama-3.1-70b-instruct": "meta-llama/Llama-3.1-70B-Instruct",
    "llama-3.1-8b-instruct": "meta-llama/Llama-3.1-8B-Instruct",
    "llama-4-scout-17b-16e-instruct-fp8-dynamic": "RedHatAI/Llama-4-Scout-17B-16E-Instruct-FP8-dynamic",
    "mistral-nemo-instruct-2407": "mistralai/Mistral-Nemo-Instruct-2407",
    "mixtral-8x7b-v0.1": "mistralai/Mixtral-8x7B-v0.1",
    "qwen2.5-7b-instruct": "Qwen/Qwen2.5-7B-Instruct",
    "qwen3-14b": "Qwen/Qwen3-14B",
    "qwen3-30b-a3b": "Qwen/Qwen3-30B-A3B",
    "yi-34b": "01-ai/Yi-34B",
}


def build(folder: Path) -> dict[str, object]:
    """The content of `models.json`."""
    records, skipped = {}, {}
    # Configs with a full id come last and win over the same model of another collection.
    for path in sorted(folder.glob("*.json"), key=lambda path: (not path.name.startswith(PREFIXES), path.name)):
        other = next((prefix for prefix in PREFIXES if path.name.startswith(prefix)), "")
        name = path.name.removeprefix(other).removesuffix(".json")
        id = FULL_IDS[name.lower()] if other else name.replace("--", "/", 1)
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            records[id] = to_record(model_from_hf_config(id, config, SHAPES_SOURCE if other else SOURCE))
        except UnsupportedArchitecture as refusal:
            skipped[id] = str(refusal)
    for id, record in by_hand().items():
        records.setdefault(id, record)
    return {
        "comment": "Written by build_models.py; plain facts (shapes) of published configs. Do not edit.",
        "skipped": dict(sorted(skipped.items())),
        "models": [records[id] for id in sorted(records)],
    }


def by_hand() -> dict[str, dict[str, object]]:
    """The records of `data/models_by_hand.yaml`."""
    text = resources.files("inferencefleet.catalog").joinpath("data/models_by_hand.yaml").read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    source = f"{data['source']['title']}, {data['source']['date']}"
    return {id: to_record(model_from_hf_config(id, config, source)) for id, config in data["models"].items()}


def main() -> None:
    """Rebuild the data file in place."""
    content = build(Path(sys.argv[1]))
    models = content.pop("models")
    assert isinstance(models, list)
    lines = ",\n".join(json.dumps(record) for record in models)  # one model a line: diffs stay readable
    head = json.dumps(content, indent=1)[:-2]
    target = resources.files("inferencefleet.catalog").joinpath("data/models.json")
    Path(str(target)).write_text(f'{head},\n "models": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
