"""The KV cache as blocks, with the growth of decoding sequences known in advance.

A decoding sequence writes one token per step, so it needs a new block every `block_size` steps, always at the same
step number modulo `block_size`. Counting sequences by that phase makes block growth exact at O(1) a step.
"""

from __future__ import annotations


class KvBlocks:
    """Counts, not addresses: which block holds what does not change speed."""

    def __init__(self, total_blocks: int, block_size: int = 16) -> None:
        if total_blocks < 1 or block_size < 1:
            raise ValueError(f"a KV cache needs blocks: {total_blocks} x {block_size}")
        self.total = total_blocks
        self.block_size = block_size
        self.used = 0
        self._growth = [0] * block_size

    @property
    def free(self) -> int:
        return self.total - self.used

    @property
    def usage(self) -> float:
        return self.used / self.total

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)

    def allocate(self, blocks: int) -> None:
        if blocks > self.free:
            raise RuntimeError(f"{blocks} blocks wanted, {self.free} free")
        self.used += blocks

    def release(self, blocks: int) -> None:
        self.used -= blocks
        if self.used < 0:
            raise RuntimeError("more KV blocks released than were held")

    def growth_at(self, step: int) -> int:
        """Blocks that the decoding sequences need in this step."""
        return self._growth[step % self.block_size]

    def start_growing(self, tokens: int, step: int) -> None:
        """A sequence with `tokens` in the cache when `step` ends decodes from the next step on."""
        self._growth[(step + 1 - tokens) % self.block_size] += 1

    def stop_growing(self, tokens: int, step: int) -> None:
        """Undo `start_growing`, called with the same values."""
        self._growth[(step + 1 - tokens) % self.block_size] -= 1
