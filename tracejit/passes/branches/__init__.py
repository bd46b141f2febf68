"""What the passes do with a `branch`: each of them gives a branch again.

    derivatives  vjp and jvp: a second branch on the same outcome
    beside       that second branch, and what it keeps of the first
    batching     a loop over the batch with the branch in it
    reduce       simplify: operands, results and sides that a branch does not need

As with loops, the modules are given the function that does to a side what is being
done to the branch.
"""

from .batching import batch_branch
from .derivatives import pull_branch, push_branch
from .reduce import reduce_branch

__all__ = ["batch_branch", "pull_branch", "push_branch", "reduce_branch"]
