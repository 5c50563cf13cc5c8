"""What processes hand each other beside gradients: bytes of any length, through the collectives of the training."""

from functools import cache

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

CHUNK = 1 << 18  # words exchanged at once: one shape, so that it is compiled once, and 1 MiB for each process


class AllGather(nn.Cell):
    """Concatenates the tensors of all processes, by their ranks."""

    def __init__(self) -> None:
        super().__init__(auto_prefix=False)
        self.all_gather = ops.AllGather()

    def construct(self, value: Tensor) -> Tensor:
        """A tensor [N, ...], of one shape on all processes -> [world * N, ...], the same on all."""
        return self.all_gather(value)


@cache
def _all_gather() -> AllGather:
    """One for all exchanges: another cell would be compiled anew."""
    return AllGather()


def gather_bytes(data: bytes, world: int, keep: bool) -> list[bytes]:
    """Collect what each process has; all processes must call this.

    Lengths may differ: the data travels as int32, which every backend gathers, in chunks filled up with zeros.

    Args:
        data: of this process, less than 2 GiB.
        world: number of processes.
        keep: whether this process wants the result; the others hold no more than a chunk of each.

    Returns:
        What each process gave, by rank; [] unless `keep`.
    """
    gather = _all_gather()
    lengths = gather(Tensor([len(data)], ms.int32)).asnumpy()
    chunks = -(-int(lengths.max()) // (4 * CHUNK))
    words = np.zeros(chunks * CHUNK, np.int32)
    words.view(np.uint8)[: len(data)] = np.frombuffer(data, np.uint8)
    parts: list[list[bytes]] = [[] for _ in range(world)]
    for number in range(chunks):
        gathered = gather(Tensor(words[number * CHUNK : (number + 1) * CHUNK])).asnumpy().reshape(world, CHUNK)
        if keep:
            for part, row in zip(parts, gathered, strict=True):
                part.append(row.tobytes())
    return [b"".join(part)[:length] for part, length in zip(parts, lengths.tolist(), strict=True)] if keep else []
