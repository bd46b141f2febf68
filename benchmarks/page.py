"""Writes docs/benchmarks.md from what was measured."""

from benchmarks import (
    batched,
    contestants,
    define_by_run,
    inside,
    latency,
    leak,
    long_loops,
    paths,
    recording,
    rolling,
)
from benchmarks.harness import first_rows, markdown, rows

HEAD = """\
# Benchmarks

This page is written by `{command}`.
Compare its columns with each other, not with another machine's.

Measured on: {settings}.
"""

INTRODUCTION = """
## Value and gradient

Time of one call that takes NumPy arrays and gives the value and the gradient as NumPy
arrays. The contestants take turns within one run; a time is the median over rounds, and
*ratio* is tracejit's time by the hand-written one's, taken within each round; *to best*
is the same by the fastest of the hand-written versions. All gradients were compared
with the hand-written ones first.

*hand-written* is a Numba function with forward and backward pass fused by hand, its
output and workspace allocated beforehand, and Numba's scalar `exp`, `log` and `erf`.
*hand, vector math* is the same code with the vector functions of glibc's libmvec.
The target is judged by *ratio*, that is against the scalar functions; where *to best*
is larger, the vector version is the harder opponent.
*hand, fresh output* is the same code as the first, but returns a new gradient array
each time, as tracejit does.

"""

FIRST = """
## First calls of loops

Time of the first call in this process, recording or tracing and compiling included.
JAX unrolls a Python loop; where it has no figure, it had not compiled it after
{seconds} seconds. *JAX scan* is the same computation written for `jax.lax.scan`.

"""

LONG_LOOPS = """
## Long loops

The first call of a plain Python loop, in a new process without a disk cache where
another function has been compiled before; medians of three processes. *ratio* compares
the time for compiling with that of the row with the fewest rounds; *memory* is what the
process grew by. Where the rounds do the same, few of them are recorded
([loops](loops.md)).

"""

ROLLING = """
## Finding loops

The processor time for finding the loops of a tape that was recorded with all rounds, by
the number of its instrs: medians of five runs. *recording* is the time for recording
one instr, *after* how many instrs are left.

"""

PATHS = """
## Loops that end on their values

One input after another, each with its own number of iterations or its own sequence of
branches, in plain Python. Times are means over all inputs, after all have been seen
once; recordings and kernels are counted over the first pass.

"""

BATCHED = """
## Batches

`vmap` of value and gradient of a function with two branches, all examples in one call;
the hand-written contestant is a Numba `prange` loop with the same branches.

"""

INSIDE = """
## Numba and C

Time of one call. In the first two rows a function of tracejit is called by a loop that
the user compiled with Numba, against the derivative written by hand; then a kernel
calls a function of Numba's, and one in Python, against the same without a kernel; last
`scipy.integrate.quad` calls a C function.

"""

LATENCY = """
## Latency

Medians over fresh processes. The small function is a penalised least-squares loss with
three branches; two of them differ by a constant only.

"""

RECORDING = """
## Recording

Processor time of a NumPy call while a function is recorded: the calls of the test
suite's sweep, on arrays of a few elements, in a recording that has met their kind
before (*again*, and *each* of the calls in a text) and in one that has not (*in full*).
Composites cost by their instrs: below are the twenty dearest.

"""

LEAKS = """
## Memory

Growth of the process's resident memory over many calls, after a tenth as many to warm
up.

"""


VARIABLES = """
## Define by run

`tracejit.autograd`: a training step of a network of 64, 256 and 10 units, recorded
anew in each step, against the same step with `value_and_grad` and in PyTorch; what
recording adds to single operations on four numbers; and what many steps leave behind.
Times are medians, ratios medians of ratios within a round.

"""


def render(
    outcomes,
    labels,
    crowds,
    batches,
    waits,
    growths,
    *,
    borders=(),
    loops=(),
    rolls=(),
    variables=(),
    costs=(),
    settings,
    command,
):
    """The page as Markdown.

    Args:
        outcomes, labels: of the workloads, as `harness.rows` takes them.
        crowds: of `paths.measure`; an empty list leaves the section out.
        batches: of `batched.measure`; likewise.
        waits: of `latency.measure`; an empty list leaves the section out.
        growths: of `leak.measure`; likewise.
        borders: of `inside.measure`; likewise.
        loops: of `long_loops.measure`; likewise.
        rolls: of `rolling.measure`; likewise.
        variables: of `define_by_run.measure`; likewise.
        costs: of `recording.measure`; likewise.
        settings: one line on machine and versions.
        command: what was run.
    """
    page = HEAD.format(settings=settings, command=command)
    if outcomes:
        page += INTRODUCTION + markdown(rows(outcomes, labels)) + "\n"
    first = first_rows(outcomes, labels)
    if first:
        seconds = contestants.UNROLLED_SECONDS
        page += FIRST.format(seconds=seconds) + markdown(first) + "\n"
    if loops:
        page += LONG_LOOPS + markdown(long_loops.rows(loops)) + "\n"
    if rolls:
        page += ROLLING + markdown(rolling.rows(rolls)) + "\n"
    if crowds:
        page += PATHS + markdown(paths.rows(crowds)) + "\n"
    if batches:
        page += BATCHED + markdown(batched.rows(batches)) + "\n"
    if borders:
        page += INSIDE + markdown(inside.rows(borders)) + "\n"
    if waits:
        page += LATENCY + markdown(latency.rows(waits)) + "\n"
    if costs:
        page += RECORDING + markdown(recording.summary(costs)) + "\n\n"
        page += markdown(recording.rows(costs[:20])) + "\n"
    if growths:
        page += LEAKS + markdown(leak.rows(growths)) + "\n"
    if variables:
        page += VARIABLES + markdown(define_by_run.rows(variables)) + "\n"
    return page
