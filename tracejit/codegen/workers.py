"""Threads that share the examples of a batch, without Python: LLVM text.

    caller:  run(pool, job) ──► wakes the workers, takes chunks itself, waits for those
                                that came
    worker:  worker(pool)   ──► sleeps; takes chunks of the job; sleeps; ...

Chunks are taken one by one, by a counter, so a thread that is late or slow takes fewer,
and a job that is done before a worker has woken up does not wait for it.  A pool does
one job at a time: a caller that finds it busy does its job alone.  No one holds the
interpreter's lock, and nothing here knows of Python.

A mutex and two conditions of POSIX, whose C structs stand at the pool's beginning
(zeros are no valid ones everywhere, so they are initialised), order all else.
"""

from __future__ import annotations

import ctypes
from functools import cache

__all__ = ["JOB", "POOL_WORDS", "assembly", "functions", "initialise"]

#: Words of a pool: three structs of 64 bytes, number of jobs so far, the present job or
#: 0, workers at it, whether it is in use.
POOL_WORDS = 28
_MUTEX, _WAKE, _DONE, _NUMBER, _PRESENT, _ACTIVE, _BUSY = 0, 8, 16, 24, 25, 26, 27
#: Words of a job: the driver and its operands, the examples, how many make a chunk, the
#: chunks, the next of these, misses by chunk, workspaces and their size, the threads
#: that have come, and how many may.
JOB = (
    "function", "params", "table", "index", "left", "count", "size", "chunks", "next",
    "misses", "work", "bytes", "came", "threads",
)  # fmt: skip
#: Bytes of an example's row in `left`.
_ROW = 16
_LOCKS = ("pthread_mutex_lock", "pthread_mutex_unlock")
_CONDITIONS = (
    "pthread_cond_wait",
    "pthread_cond_signal",
    "pthread_cond_broadcast",
)
_INITIAL = ("pthread_mutex_init", "pthread_cond_init")


@cache
def functions() -> dict[str, int] | None:
    """Addresses of what the text calls of the system; None if it has no such thing."""
    try:
        library = ctypes.CDLL(None)
        names = (*_LOCKS, *_CONDITIONS)
        found = {n: ctypes.cast(library[n], ctypes.c_void_p).value for n in names}
        for name in _INITIAL:
            library[name]
    except (OSError, TypeError, AttributeError):
        return None
    return {name: address or 0 for name, address in found.items()}


def initialise(pool: int) -> None:
    """Make the mutex and the conditions of a pool of zeros."""
    library = ctypes.CDLL(None)
    for function, word in (
        (library.pthread_mutex_init, _MUTEX),
        (library.pthread_cond_init, _WAKE),
        (library.pthread_cond_init, _DONE),
    ):
        function(ctypes.c_void_p(pool + 8 * word), None)


def assembly(name: str, shared: bool) -> str:
    """The module: `NAME_work`, and if there are threads `NAME_run`, `NAME_worker`."""
    fields = "\n".join(
        f"  %{field} = call i64 @word(ptr %job, i64 {k})"
        for k, field in enumerate(JOB)
        if field not in ("next", "came")
    )
    numbers = {
        "NAME": name,
        "FIELDS": fields,
        "NEXT": str(JOB.index("next")),
        "CAME": str(JOB.index("came")),
        "THREADS": str(JOB.index("threads")),
        "ROW": str(_ROW),
    }
    places = {
        "mutex": _MUTEX, "wake": _WAKE, "done": _DONE, "number": _NUMBER,
        "present": _PRESENT, "active": _ACTIVE, "busy": _BUSY,
    }  # fmt: skip
    text = (_ALONE + _SHARED if shared else _ALONE).replace(
        "$POOL", "\n".join(_place(*p) for p in places.items())
    )
    for key, value in numbers.items():
        text = text.replace(f"${key}", value)
    return text


def _place(field: str, word: int) -> str:
    return f"  %{field} = getelementptr inbounds i64, ptr %pool, i64 {word}"


_ALONE = """\
define private i64 @word(ptr %of, i64 %slot) alwaysinline {
  %field = getelementptr inbounds i64, ptr %of, i64 %slot
  %value = load i64, ptr %field, align 8
  ret i64 %value
}

; Take chunks until there are none.
define void @$NAME_work(ptr %job) noinline {
entry:
  %came = getelementptr inbounds i64, ptr %job, i64 $CAME
  %ticket = atomicrmw add ptr %came, i64 1 monotonic, align 8
$FIELDS
  %welcome = icmp slt i64 %ticket, %threads
  br i1 %welcome, label %begin, label %end
begin:
  %place = getelementptr inbounds i64, ptr %job, i64 $NEXT
  %offset = mul i64 %ticket, %bytes
  %space = add i64 %work, %offset
  %driver = inttoptr i64 %function to ptr
  %p = inttoptr i64 %params to ptr
  %w = inttoptr i64 %space to ptr
  %t = inttoptr i64 %table to ptr
  %x = inttoptr i64 %index to ptr
  %found = inttoptr i64 %misses to ptr
  br label %take
take:
  %chunk = atomicrmw add ptr %place, i64 1 monotonic, align 8
  %more = icmp slt i64 %chunk, %chunks
  br i1 %more, label %one, label %end
one:
  %lo = mul i64 %chunk, %size
  %next = add i64 %lo, %size
  %last = icmp slt i64 %next, %count
  %hi = select i1 %last, i64 %next, i64 %count
  %skipped = mul i64 %lo, $ROW
  %behind = add i64 %left, %skipped
  %l = inttoptr i64 %behind to ptr
  %missed = call i64 %driver(ptr %p, ptr %w, ptr %t, ptr %x, i64 %lo, i64 %hi, ptr %l)
  %slot = getelementptr inbounds i64, ptr %found, i64 %chunk
  store i64 %missed, ptr %slot, align 8
  br label %take
end:
  ret void
}

"""

_SHARED = """\
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @pthread_cond_broadcast(ptr)

define void @$NAME_run(ptr %pool, ptr %job) {
entry:
$POOL
  %used = atomicrmw xchg ptr %busy, i64 1 acquire, align 8
  %free = icmp eq i64 %used, 0
  br i1 %free, label %share, label %alone
alone:
  call void @$NAME_work(ptr %job)
  ret void
share:
  %c0 = call i32 @pthread_mutex_lock(ptr %mutex)
  store ptr %job, ptr %present, align 8
  %before = load i64, ptr %number, align 8
  %now = add i64 %before, 1
  store i64 %now, ptr %number, align 8
  %c1 = call i32 @pthread_cond_broadcast(ptr %wake)
  %c2 = call i32 @pthread_mutex_unlock(ptr %mutex)
  call void @$NAME_work(ptr %job)
  %c3 = call i32 @pthread_mutex_lock(ptr %mutex)
  store ptr null, ptr %present, align 8
  br label %look
look:
  %others = load i64, ptr %active, align 8
  %gone = icmp eq i64 %others, 0
  br i1 %gone, label %end, label %wait
wait:
  %c4 = call i32 @pthread_cond_wait(ptr %done, ptr %mutex)
  br label %look
end:
  %c5 = call i32 @pthread_mutex_unlock(ptr %mutex)
  store atomic i64 0, ptr %busy release, align 8
  ret void
}

; Never returns.
define void @$NAME_worker(ptr %pool) {
entry:
$POOL
  %c0 = call i32 @pthread_mutex_lock(ptr %mutex)
  br label %look
look:
  %seen = phi i64 [ 0, %entry ], [ %seen, %sleep ], [ %current, %left ]
  %job = load ptr, ptr %present, align 8
  %current = load i64, ptr %number, align 8
  %none = icmp eq ptr %job, null
  %old = icmp eq i64 %current, %seen
  %idle = or i1 %none, %old
  br i1 %idle, label %sleep, label %join
sleep:
  %c1 = call i32 @pthread_cond_wait(ptr %wake, ptr %mutex)
  br label %look
join:
  %a0 = load i64, ptr %active, align 8
  %a1 = add i64 %a0, 1
  store i64 %a1, ptr %active, align 8
  %c2 = call i32 @pthread_mutex_unlock(ptr %mutex)
  call void @$NAME_work(ptr %job)
  %c3 = call i32 @pthread_mutex_lock(ptr %mutex)
  %a2 = load i64, ptr %active, align 8
  %a3 = sub i64 %a2, 1
  store i64 %a3, ptr %active, align 8
  %last = icmp eq i64 %a3, 0
  br i1 %last, label %tell, label %left
tell:
  %c4 = call i32 @pthread_cond_signal(ptr %done)
  br label %left
left:
  br label %look
}
"""
