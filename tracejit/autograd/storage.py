"""What a variable holds, the memory that it sees, and how often that was written to.

A variable that nobody shares its memory with, and that nobody wrote to, has no storage.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from ..numpy_api.protocols import Remembering
from .failure import fail
from .history import GradFn
from .templates import KINDS, kind_of

__all__ = [
    "State",
    "Storage",
    "renewed",
    "require_fresh",
    "shared_storage",
    "touch",
    "version",
]


class Storage:
    """The memory that one or several variables see.

    Attributes:
        count: how often it was written to, the version.
        users: entries that were given this memory and may not have looked at it yet.
        aliases: entries whose value lies in this memory.
        views: variables that are views of others here.
    """

    __slots__ = ("_room", "aliases", "count", "users", "views")

    def __init__(self) -> None:
        self.count = 0
        self.users: list[weakref.ref[GradFn]] = []
        self.aliases: list[weakref.ref[GradFn]] = []
        self.views: list[weakref.ref[Any]] = []
        self._room = 64

    def add_view(self, x: Any) -> None:
        """Note that a variable is a view."""
        views = self.views
        views.append(weakref.ref(x))
        if len(views) > self._room:
            self.views = [ref for ref in views if ref() is not None]
            self._room = 64 + 2 * len(self.views)

    def add_user(self, fn: GradFn) -> None:
        """Note that an entry will read this memory."""
        users = self.users
        users.append(weakref.ref(fn))
        if len(users) > self._room:
            self.users = [ref for ref in users if ref() is not None]
            self._room = 64 + 2 * len(self.users)

    def add_alias(self, fn: GradFn) -> None:
        """Note that the value of an entry lies here."""
        aliases = self.aliases
        aliases.append(weakref.ref(fn))
        if len(aliases) > self._room:
            self.aliases = list({ref for ref in aliases if ref() is not None})
            self._room = 64 + 2 * len(self.aliases)

    def settle(self) -> None:
        """Before a write: those who want the present values take them."""
        if self.users:
            for ref in self.users:
                if (fn := ref()) is not None and fn.args:
                    fn.compute()
            self.users = []
        if self.aliases:
            for ref in self.aliases:
                fn = ref()
                if fn is None:
                    continue
                if fn.known is not None:
                    fn.known = np.array(fn.known)[()]
                if fn.extra is not None and fn.extra.value is not None:
                    held = fn.extra.value
                    fn.extra.value = type(held)(np.array(held.value))
                    fn.extra.version = 0
            self.aliases = []


class State(Remembering):
    """What a variable holds.

    Attributes:
        known: the array; a NumPy scalar for most results of shape (); None for a
            recorded result that nobody looked at.
        kind: the number of its aval.
        level: 0 for a constant, else see `modes`.
        fn: what made it; None for leaves.
        storage: the memory, shared with views; None as long as nobody asked for it.
        seen: its version when `fn` made this value.
        extra: gradient, hooks, if there are any.
        mark, place: of the pass that looks at it (see `segments`).
    """

    __slots__ = (
        "__weakref__",
        "extra",
        "fn",
        "kind",
        "known",
        "level",
        "mark",
        "place",
        "seen",
        "storage",
    )

    known: Any
    storage: Storage | None
    fn: GradFn | None
    level: int
    kind: int
    seen: int
    extra: Any
    place: int

    def __init__(self, value: Any, level: int = 0) -> None:
        self.known = value
        self.kind = kind_of(value)
        self.level = level
        self.fn = None
        self.storage = None
        self.seen = 0
        self.extra = None
        self.mark: Any = None

    @property
    def value(self) -> Any:
        """The array (or NumPy scalar), computed now if nobody looked before."""
        if self.known is None:
            assert self.fn is not None
            require_fresh(self)
            storage = self.storage
            self.known = self.fn.value if storage is None else self.fn.look(storage)
        return self.known

    @property
    def shape(self) -> tuple[int, ...]:
        return KINDS[self.kind].shape

    @property
    def dtype(self) -> np.dtype:
        return KINDS[self.kind].dtype


def version(x: State) -> int:
    """How often the memory of `x` was written to."""
    return x.storage.count if x.storage is not None else 0


def shared_storage(x: State) -> Storage:
    """The memory of `x`, for one more that sees it."""
    if x.storage is None:
        x.storage = Storage()
    if x.fn is not None and x.known is not None:
        x.storage.add_alias(x.fn)
    return x.storage


def touch(x: State) -> None:
    """Note that `x` itself is written to now, right after this.

    The history of a recorded result does not know of it.
    """
    storage = x.storage
    if storage is None or x.fn is not None:
        storage = shared_storage(x)
    if storage.users or storage.aliases:
        storage.settle()
    storage.count += 1
    if x.fn is None:
        x.seen = storage.count


def require_fresh(x: State) -> None:
    """Bring a view up to date; refuse what a write that was not recorded left behind.

    Only asked of what has a storage.
    """
    if x.fn is None or x.storage is None or x.storage.count == x.seen:
        return
    if x.extra is not None and x.extra.view is not None:
        x.extra.view.renew(x)
        return
    raise fail(
        f"a recorded array of shape {list(x.shape)} was changed in place without "
        "being recorded, itself or one that shares its memory, so its history does "
        "not give its value any more",
        "Use a copy, x.copy(), or make the change before",
    )


def renewed(x: State) -> None:
    """Bring a view up to date."""
    if x.extra is not None and x.extra.view is not None:
        require_fresh(x)
