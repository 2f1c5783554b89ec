"""Write `data/prices.yaml` from a table of instance list prices.

    python -m inferencefleet.catalog.build_prices FILE.csv

FILE has the columns cloud, region, instance_type, term, usd_per_h, as_of, source. Only rows of repositories under
Apache-2.0 are taken (SOURCES). Of each GPU, cloud and capacity type the cheapest instance for a GPU is kept: in one
region of the cloud, else in the cheapest of its other regions. Not imported by the operator.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path

SOURCES = {
    "karpenter-provider-aws": "aws/karpenter-provider-aws@1d927085 (Apache-2.0)",
    "karpenter-provider-azure": "Azure/karpenter-provider-azure@352646f5 (Apache-2.0)",
    "cluster-autoscaler": "kubernetes/autoscaler@55c37cd5 gce_price_info.go (Apache-2.0)",
}
REGIONS = {"aws": "us-east-1", "azure": "eastus", "gcp": "us-central1"}
TERMS = {"on-demand": "OnDemand", "spot": "Spot"}

# Instance -> GPU and how many, by the clouds' instance pages. Instances with a part of a GPU are left out.
INSTANCES = {
    r"g5\.(xlarge|2xlarge|4xlarge|8xlarge|16xlarge)": ("A10G", 1),
    r"g5\.(12xlarge|24xlarge)": ("A10G", 4),
    r"g5\.48xlarge": ("A10G", 8),
    r"g6\.(xlarge|2xlarge|4xlarge|8xlarge|16xlarge)": ("L4", 1),
    r"g6\.(12xlarge|24xlarge)": ("L4", 4),
    r"g6\.48xlarge": ("L4", 8),
    r"g6e\.(xlarge|2xlarge|4xlarge|8xlarge|16xlarge)": ("L40S", 1),
    r"g6e\.(12xlarge|24xlarge)": ("L40S", 4),
    r"g6e\.48xlarge": ("L40S", 8),
    r"g7e\.(2xlarge|4xlarge|8xlarge)": ("RTX-PRO-6000", 1),
    r"g7e\.12xlarge": ("RTX-PRO-6000", 2),
    r"g7e\.24xlarge": ("RTX-PRO-6000", 4),
    r"g7e\.48xlarge": ("RTX-PRO-6000", 8),
    r"p4d\.24xlarge": ("A100-SXM-40GB", 8),
    r"p4de\.24xlarge": ("A100-SXM", 8),
    r"p5\.4xlarge": ("H100-SXM", 1),
    r"p5\.48xlarge": ("H100-SXM", 8),
    r"p5en\.48xlarge": ("H200-SXM", 8),
    r"p6-b200\.48xlarge": ("B200", 8),
    r"p6-b300\.48xlarge": ("B300", 8),
    r"Standard_NV36adm?s_A10_v5": ("A10", 1),
    r"Standard_NV72ads_A10_v5": ("A10", 2),
    r"Standard_NC24ads_A100_v4": ("A100-PCIE-80GB", 1),
    r"Standard_NC48ads_A100_v4": ("A100-PCIE-80GB", 2),
    r"Standard_NC96ads_A100_v4": ("A100-PCIE-80GB", 4),
    r"Standard_ND96asr_v4": ("A100-SXM-40GB", 8),
    r"Standard_ND96amsr_A100_v4": ("A100-SXM", 8),
    r"Standard_NC40ads_H100_v5": ("H100-NVL", 1),
    r"Standard_NC80adis_H100_v5": ("H100-NVL", 2),
    r"Standard_ND96isr_H100_v5": ("H100-SXM", 8),
    r"Standard_ND96isr_H200_v5": ("H200-SXM", 8),
    r"Standard_ND96isr_MI300X_v5": ("MI300X", 8),
    r"Standard_ND128isr_NDR_GB200_v6": ("GB200", 4),
    r"a2-highgpu-1g": ("A100-SXM-40GB", 1),
    r"a2-highgpu-2g": ("A100-SXM-40GB", 2),
    r"a2-highgpu-4g": ("A100-SXM-40GB", 4),
    r"a2-highgpu-8g": ("A100-SXM-40GB", 8),
    r"a2-megagpu-16g": ("A100-SXM-40GB", 16),
    r"a2-ultragpu-1g": ("A100-SXM", 1),
    r"a2-ultragpu-2g": ("A100-SXM", 2),
    r"a2-ultragpu-4g": ("A100-SXM", 4),
    r"a2-ultragpu-8g": ("A100-SXM", 8),
    r"g2-standard-(4|8|12|16|32)": ("L4", 1),
    r"g2-standard-24": ("L4", 2),
    r"g2-standard-48": ("L4", 4),
    r"g2-standard-96": ("L4", 8),
}

Row = Mapping[str, str]


def gpu_of(instance: str) -> tuple[str, int] | None:
    """GPU and count of an instance type; None when it has none that we know."""
    return next((found for pattern, found in INSTANCES.items() if re.fullmatch(pattern, instance)), None)


def cheapest(rows: Iterable[Row]) -> dict[str, list[dict[str, object]]]:
    """The content of `prices` by GPU."""
    best: dict[tuple[str, str, str], tuple[tuple[bool, float], dict[str, object]]] = {}
    for row in rows:
        source = next((title for name, title in SOURCES.items() if row["source"].startswith(name)), None)
        found, term, dollars = gpu_of(row["instance_type"]), TERMS.get(row["term"]), float(row["usd_per_h"])
        if source is None or found is None or term is None or dollars <= 0:
            continue
        gpu, count = found
        each = round(dollars / count, 4)
        rank = (row["region"] != REGIONS[row["cloud"]], each)
        key = (gpu, row["cloud"], term)
        if key not in best or rank < best[key][0]:
            best[key] = (
                rank,
                {
                    "usdPerGpuHour": each,
                    "capacityType": term,
                    "cloud": row["cloud"],
                    "instance": row["instance_type"],
                    "region": row["region"],
                    "date": row["as_of"],
                    "source": source,
                },
            )
    prices: dict[str, list[dict[str, object]]] = {}
    for (gpu, _, _), (_, price) in sorted(best.items(), key=lambda item: item[0]):
        prices.setdefault(gpu, []).append(price)
    return prices


def main() -> None:
    """Rebuild the data file in place."""
    with Path(sys.argv[1]).open(encoding="utf-8", newline="") as file:
        prices = cheapest(csv.DictReader(file))
    lines = ["# Written by build_prices.py: list prices of one GPU for one hour, US dollars. Do not edit.", "prices:"]
    for gpu, rows in prices.items():
        lines.append(f"  {gpu}:")
        for row in rows:
            fields = ", ".join(f"{name}: {_quoted(value)}" for name, value in row.items())
            lines.append(f"  - {{{fields}}}")
    target = resources.files("inferencefleet.catalog").joinpath("data/prices.yaml")
    Path(str(target)).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _quoted(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) and not value.isalnum() else str(value)


if __name__ == "__main__":
    main()
