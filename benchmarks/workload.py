"""What one benchmark consists of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

HAND = "hand-written"
HAND_VECTOR = "hand, vector math"
HAND_FRESH = "hand, fresh output"


@dataclass(frozen=True)
class Workload:
    """A NumPy function, its data, and how an expert would write its gradient.

    Attributes:
        name: the row's title.
        function: the plain NumPy function, as a user writes it.
        data: makes the arguments, so that a skipped workload costs no memory.
        hand: label -> factory. A factory gets the arguments, allocates what an
            expert would allocate once, and returns `call(*arguments)`, which
            gives the value and the gradient. Every workload has `HAND`.
        target: tracejit's time is to be at most this multiple of `HAND`'s.
        limit: and, if given, at most this many seconds.
        argnums: the arguments to differentiate, as in JAX.
        torch: the same function on PyTorch tensors, `torch(torch_module, *args)`.
        tolerance: allowed relative difference of gradients between contestants.
        static: the arguments that are no arrays (a number of steps), for JAX.
        scan: the same function written for `jax.lax.scan`, `scan(jax, *args)`.
        first_limit: seconds that tracejit's first call may last.
    """

    name: str
    function: Callable
    data: Callable[[], tuple]
    hand: Mapping[str, Callable]
    target: float
    limit: float | None = None
    argnums: int | tuple[int, ...] = 0
    torch: Callable | None = None
    tolerance: float = 1e-6
    static: tuple[int, ...] = ()
    scan: Callable | None = None
    first_limit: float | None = None
