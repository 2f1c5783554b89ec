"""What a GPU costs an hour: said on the command line, else by pools, else by the catalogue; each with its source."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import click

from inferencefleet import catalog
from inferencefleet.catalog.errors import closest
from inferencefleet.cli.flags import Above
from inferencefleet.cli.refusal import refuse
from inferencefleet.domain.hardware import GpuSpec
from inferencefleet.domain.pool import CapacityType, Pool
from inferencefleet.economics.recommend import PriceTag

ANY = "*"
"""The key of a price that stands for every GPU."""


class PriceText(click.ParamType[tuple[str, float]]):
    """`H100=2.5`, or `2.5` for whatever GPU is asked about."""

    name = "gpu=usd"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).rpartition("=")
        dollars = Above(0, 10_000, unit="dollars for a GPU and hour").convert(text, param, ctx)
        if not equals:
            return ANY, dollars
        try:
            return catalog.gpu(name).name, dollars
        except ValueError:
            return name, dollars  # a GPU in numbers has a name of its own


def price_options(command: Any) -> Any:
    """--price, --capacity-type and --pools."""
    for option in (
        click.option("--pools", "pools_file", type=click.Path(), metavar="FILE",
                     help="GPUPool manifests: their GPUs and prices instead of the catalogue's."),
        click.option("--capacity-type", type=click.Choice([kind.value for kind in CapacityType], case_sensitive=False),
                     default=CapacityType.ON_DEMAND.value, show_default=True, help="Which catalogue price counts."),
        click.option("--cloud", metavar="NAME",
                     help="Use list prices of this cloud only (aws, azure, gcp). Default: the cheapest of all."),
        click.option("--price", "prices", type=PriceText(), multiple=True, metavar="GPU=USD",
                     help="Dollars for one GPU and hour, for example H100=2.5. May be repeated."),
    ):  # fmt: skip
        command = option(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """Where prices come from, first match wins."""

    given: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    pools: Sequence[Pool] = ()
    capacity_type: CapacityType = CapacityType.ON_DEMAND
    cloud: str | None = None
    """Of list prices; None = the cheapest of all."""

    def allowed(self, pools: Collection[str] | None) -> PriceList:
        """Only the pools that a fleet restricts itself to; None = every pool."""
        return self if pools is None else replace(self, pools=[pool for pool in self.pools if pool.name in pools])

    def refuse_strangers(self, gpus: Iterable[GpuSpec]) -> None:
        """`Refusal` for a --price of a GPU that is neither among these nor in the catalogue: most likely a slip."""
        names = {gpu.name for gpu in gpus}
        for name in self.given:
            if name == ANY or name in names:
                continue
            try:
                catalog.gpu(name)
            except ValueError as error:
                raise refuse("--price", f"{name}={self.given[name]:g}", f"{error} Or spell it as in --gpu.") from None

    def tag(self, gpu: GpuSpec) -> PriceTag | None:
        """The price of this GPU; None when nobody knows one. A GPU in numbers may borrow the name of a listed one."""
        said = self.given.get(gpu.name, self.given.get(ANY))
        if said is not None:
            return PriceTag(usd_per_gpu_hour=said, capacity_type=self.capacity_type, source="--price")
        offered = [pool for pool in self.pools if pool.gpu == gpu]
        if offered:
            pool = min(
                offered, key=lambda pool: (pool.capacity_type is not self.capacity_type, pool.price_per_gpu_hour)
            )
            return PriceTag(
                usd_per_gpu_hour=pool.price_per_gpu_hour,
                capacity_type=pool.capacity_type,
                source=f"pool {pool.name}",
            )
        return self._listed(gpu)

    def _listed(self, gpu: GpuSpec) -> PriceTag | None:
        """The cheapest list price, with where and when it was read."""
        if self.cloud is None:
            try:
                price = catalog.price(gpu.name, self.capacity_type)
            except ValueError:
                return None  # unknown prices are listed as such, which says more than a refusal
        else:
            listed = (price for price in catalog.prices().get(gpu.name, ()) if price.cloud == self.cloud)
            found = next((price for price in listed if price.capacity_type == self.capacity_type), None)
            if found is None:
                return None
            price = found  # they are sorted, cheapest first
        where = " ".join(word for word in (price.cloud, price.instance, price.region) if word)
        return PriceTag(
            usd_per_gpu_hour=price.usd_per_gpu_hour,
            capacity_type=self.capacity_type,
            source=f"{where}, {price.date} ({price.source})",
        )


def price_list(flags: dict[str, Any]) -> PriceList:
    """From the flags of `price_options`, which are taken out of `flags`."""
    from pathlib import Path

    pools_file = flags.pop("pools_file")
    pools: Sequence[Pool] = ()
    if pools_file is not None:
        from inferencefleet.cli.manifests import pools_of

        pools = pools_of(Path(pools_file))
    kind = {kind.value.lower(): kind for kind in CapacityType}[flags.pop("capacity_type").lower()]
    cloud = flags.pop("cloud")
    clouds = sorted({price.cloud for prices in catalog.prices().values() for price in prices})
    if cloud is not None and cloud.lower() not in clouds:
        near = closest(cloud, clouds, count=1)[0]
        raise refuse("--cloud", cloud, f"no list prices of it are known; closest: {near} (known: {', '.join(clouds)})")
    return PriceList(
        given=dict(flags.pop("prices")), pools=pools, capacity_type=kind, cloud=cloud.lower() if cloud else None
    )
