"""Where the genuine binaries come from: found on this machine, or built once into a cache."""

from sandbox.toolchain.resolve import Toolchain, resolve
from sandbox.toolchain.versions import Versions

__all__ = ["Toolchain", "Versions", "resolve"]
