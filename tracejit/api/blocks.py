"""A large batch without decisions, in blocks of examples.

Its examples have one kernel, which one thread runs.  Nothing in it crosses from one
example to another, so the kernel of a smaller batch does the same for a part of them:

    kernel of 100,000 examples  ->  driver: 98 blocks of 1,020, and the last 40

What is an example to the driver (`batches`) is a block here.  Threads share the blocks,
and what a block computes stays in the cache between its loops.
"""

from __future__ import annotations

import numpy as np

from .. import config
from ..dispatch import Examples, Mapped
from ..kernel import fresh, work_of
from ..passes.lower import lower
from ..program import Call, walk
from ..tape import Tape

__all__ = ["block_size", "in_blocks"]

#: A batch of less work than so many blocks of the smallest size stays one.
_BLOCKS = 8


def block_size(tape: Tape, captures: int, count: int) -> int:
    """How many examples make a block; 0 if the batch is to stay in one piece.

    Args:
        tape: of the whole batch.
        captures: so many of its last inputs are arrays that it took from outside.
        count: the examples.
    """
    if config.THREADS == 1 or count < _BLOCKS:
        return 0
    program = lower(tape, captures)
    # Libraries have threads of their own, and Python has one lock.
    if any(isinstance(statement, Call) for statement in walk(program.body)):
        return 0
    work = work_of(program.body)
    if work < _BLOCKS * config.PARALLEL_WORK:
        return 0
    return max(1, count * config.PARALLEL_WORK // work)


def in_blocks(blocks: Examples, whole: Mapped, size: int) -> tuple[list, object]:
    """The results of all examples, first axis over these, and their structure.

    Args:
        blocks: path trees of blocks.
        whole: the batch.
        size: so many examples make a block.
    """
    number = max(1, whole.size // size)
    size = whole.size // number
    done = number * size
    wholes: list[np.ndarray] = []

    def room(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        wholes.append(fresh((whole.size, *shape[2:]), dtype))
        return wholes[-1][:done].reshape(shape)

    leaves = [
        leaf[:done].reshape((number, size, *leaf.shape[1:])) if flag else leaf
        for leaf, flag in zip(whole.leaves, whole.mapped, strict=True)
    ]
    arrays, spec = blocks.call(whole._replace(leaves=leaves, size=number), room)
    wholes = wholes[-len(arrays) :] if arrays else []
    if done < whole.size:
        # A last block that begins in the one before it has the same kernel.
        leaves = [
            leaf[-size:][None] if flag else leaf
            for leaf, flag in zip(whole.leaves, whole.mapped, strict=True)
        ]
        rest = blocks.call(whole._replace(leaves=leaves, size=1))[0]
        for array, part in zip(wholes, rest, strict=True):
            array[done:] = part[0, done - whole.size :]
    return wholes, spec
