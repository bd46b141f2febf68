"""Rounds that take different sides become a loop with branches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.interpret import interpret, verify
from tracejit.passes import optimise
from tracejit.passes.reroll.branches import Round, read_rounds
from tracejit.passes.reroll.weave import weave
from tracejit.tape import Instr, Tape, const
from tracejit.tracer import Recorder, Tracer, recording

Names = dict[str, Any]


class Fixes:
    """Values from before the loop, by their refs."""

    def __init__(self, rec: Recorder) -> None:
        self.rec = rec

    by_name = False

    def name(self, ref: int) -> Any:
        return ("ref", ref)

    def is_item(self, instr: Instr) -> bool:
        return False

    def ref(self, name: Any) -> int | None:
        return name[1]

    def constant(self, ref: int) -> Instr | None:
        made = self.rec.producers[ref]
        return made if made is not None and made.prim is const else None


def constant(step: Any, seen: dict[int, Any]) -> Any:
    """Params behind a fork are what they were everywhere."""
    if len({repr(v) for v in seen.values()}) > 1:
        return None
    return dict.fromkeys(range(10_000), next(iter(seen.values())))


class Recorded:
    """A loop recorded round by round: `body(names, k)` changes the names."""

    def __init__(self, body: Callable[[Names, int], None], trip: int, **given: Any):
        self.rec = rec = Recorder("f")
        visits = []
        with recording(rec):
            names = {n: rec.input_tracer(v) for n, v in given.items()}
            kept = list(names.values())
            for k in range(trip):
                visits.append(self.visit(names))
                body(names, k)
            visits.append(self.visit(names))
        self.names, self.visits, self.kept = names, visits, kept

    def visit(self, names: Names) -> Any:
        held = {(n, 0): t.ref.index for n, t in names.items() if isinstance(t, Tracer)}
        return len(self.rec.instrs), held

    def rounds(self) -> list[Round]:
        pairs = zip(self.visits, self.visits[1:], strict=False)
        return [Round(a, b, s, t) for (a, s), (b, t) in pairs]

    def tree(self) -> Any:
        return read_rounds(self.rec, self.rounds(), Fixes(self.rec))

    def plain(self, *outs: str) -> Tape:
        return verify(self.rec.finish_trace([self.names[n].ref for n in outs]))

    def woven(self, *outs: str, tree: Any = None, formulas: Any = constant) -> Tape:
        rec = self.rec
        weave(
            rec,
            self.rounds(),
            tree or self.tree(),
            {self.names[n].ref.index for n in outs},
            rec.capture,
            formulas,
            Fixes(rec),
            0,
        )
        self.captures = rec.captures
        return verify(rec.finish_trace([self.names[n].ref for n in outs]))


def walk(names: Names, k: int) -> None:
    x, u = names["x"], names["u"]
    names["x"] = x + 0.5 * names["p"] if u[k] < names["p"] else x * np.sin(x)


def by_hand(x: float, u: np.ndarray, p: float) -> float:
    for v in u:
        x = x + 0.5 * p if v < p else x * np.sin(x)
    return x


RNG = np.random.default_rng(0)


def test_one_fork():
    made = Recorded(walk, 12, x=1.0, u=RNG.random(12), p=0.5)
    tape = made.woven("x")
    assert [i.prim.name for i in tape.instrs].count("loop") == 1
    assert not any(i.prim.name == "guard" for i in tape.instrs)
    for _ in range(5):
        u, p = RNG.random(12), RNG.random()
        for t in (tape, optimise(tape)):
            (got,) = interpret(t, [np.float64(1.5), u, np.float64(p)])
            np.testing.assert_allclose(got, by_hand(1.5, u, p), rtol=1e-12)
