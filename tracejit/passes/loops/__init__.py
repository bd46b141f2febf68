"""What the passes do with a `loop`: each of them gives a loop again.

    activity   which results of a loop a derivative flows through
    residuals  a second loop beside the first, and what it keeps of it
    reverse    vjp: a loop the other way round
    forward    jvp: a loop of tangents
    batching   a loop over a batch of everything that differs
    reduce     simplify: operands, carries and results that a loop does not need
    grow       room for more rounds of a loop that only the run ends

The modules do not import the passes that call them: they are given the function that
does to the body what is being done to the loop.
"""

from .activity import activated, is_dynamic
from .batching import BatchedDecisionError, batch_loop
from .forward import push_loop
from .grow import UNLIMITED, first_bound, grown
from .reduce import reduce_loop
from .reverse import Cotangent, pull_loop

__all__ = [
    "UNLIMITED",
    "BatchedDecisionError",
    "Cotangent",
    "activated",
    "batch_loop",
    "first_bound",
    "grown",
    "is_dynamic",
    "pull_loop",
    "push_loop",
    "reduce_loop",
]
