"""Words by arrays are the words of `Tokens`; what is read is read off once."""

from __future__ import annotations

import dis
from types import CodeType
from typing import Any

import numpy as np
import pytest

from tests.passes.test_reroll import program, record, rolled, trips
from tests.random_loops import random_loop
from tests.random_tapes import random_tape
from tracejit.passes.reroll import columns as columns_module
from tracejit.passes.reroll import words as words_module
from tracejit.passes.reroll.columns import Columns
from tracejit.passes.reroll.find import IDLE, Run, Tokens, starts_of
from tracejit.passes.reroll.reads import Reads
from tracejit.tape import Instr, Source, Tape


def check_words(tape: Tape, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns_module, "_SHORT", 0)
    monkeypatch.setattr(columns_module, "_BLOCK", 7)
    monkeypatch.setattr(words_module, "_BLOCK", 5)
    instrs = list(tape.instrs)
    columns = Columns(instrs, 0, Tokens(tape.avals))
    words = columns.words
    tokens = Tokens(tape.avals)
    expected = [tokens.of(instr) for instr in instrs]
    pairs = set(zip(words.tolist(), expected, strict=True))
    if len(set(expected)) == len(expected):
        assert len(set(words.tolist())) == len(expected)
        return
    assert len(pairs) == len(set(expected)) == len(set(words.tolist()))
    assert columns.idle == {
        word
        for word, instr in zip(words.tolist(), instrs, strict=True)
        if instr.prim.name in IDLE
    }


@pytest.mark.parametrize("seed", range(20))
def test_words_of_recordings(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tape, _ = record(program(seed), np.linspace(-0.5, 0.8, 9), 0.3)
    check_words(tape, monkeypatch)


@pytest.mark.parametrize("seed", range(20))
def test_words_of_tapes_without_sources(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_words(random_tape(seed, 60)[0], monkeypatch)
    check_words(random_loop(seed, depth=2)[0], monkeypatch)


def test_equal_sources_may_be_objects_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tape, _ = record(program(1), np.linspace(-0.5, 0.8, 9), 0.3)
    instrs = [
        Instr(i.prim, i.args, i.params, i.outs, i.source and Source(*i.source))
        for i in tape.instrs
    ]
    own = Tape(tape.inputs, tuple(instrs), tape.outputs, tape.avals, tape.name)
    words = Columns(instrs, 0, Tokens(own.avals)).words
    assert len(set(words.tolist())) < len(instrs)
    check_words(own, monkeypatch)


def test_words_tell_params_and_results_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any, n: Any) -> Any:
        found = []
        for k in range(8):
            a = np.linalg.qr(x[k % 2 :, :2])[1]  # two results
            b = np.sum(x, axis=k % 2) + np.roll(x[0], k % 3)[: 2 + k % 2].sum()
            if n > k % 4:
                b = b.astype(np.float32 if k % 3 else np.float64)
            found.append(np.sum(a) + np.sum(b) + np.transpose(x)[k % 3, 0])
        return np.sum(np.array(found))

    tape, _ = record(f, np.arange(9.0).reshape(3, 3) + np.eye(3), 2.0)
    check_words(tape, monkeypatch)


def test_sums_that_collide_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words_module, "_SPREAD", (0, 0, 0, 0))
    tape, _ = record(program(3), np.linspace(-0.5, 0.8, 9), 0.3)
    check_words(tape, monkeypatch)


def begins(code: CodeType) -> list[int]:
    """`starts_of` by the disassembler."""
    found: list[int] = []
    before = None
    for instruction in dis.get_instructions(code):
        while len(found) < instruction.offset // 2:
            found.append(found[-1])
        pair = before == "PRECALL" and instruction.opname == "CALL"
        found.append(found[-1] if pair else instruction.offset)
        before = instruction.opname
    return found


def test_places_within_a_code_are_those_of_the_disassembler() -> None:
    many = "x = 0\n" + "".join(f"x = f({k}.5, y{k})\n" for k in range(300))
    for code in (
        compile(many, "many", "exec"),  # with extended arguments
        check_words.__code__,
        dis.get_instructions.__code__,
    ):
        found, expected = starts_of(code).tolist(), begins(code)
        assert found[: len(expected)] == expected


def test_matrices_have_refs_by_repetition() -> None:
    def f(x: Any, p: Any) -> Any:
        for _ in range(3):
            x = np.sin(x) * p
        return x

    tape, _ = record(f, 0.3, 1.2)
    columns = Columns([None, *tape.instrs][1:], 10)  # type: ignore[list-item]
    found = columns.matrices(Run(10, 2, 3))
    assert found is not None
    assert found.made.tolist() == [[2, 3], [4, 5], [6, 7]]
    assert found.taken.tolist() == [[0, 2, 1], [3, 4, 1], [5, 6, 1]]
    assert columns.matrices(Run(10, 1, 6)) is None
    assert [columns.maker(ref) for ref in (1, 5, 9)] == [None, 13, None]


def test_reads_grow_to_the_front() -> None:
    def f(x: Any) -> Any:
        a = np.sin(x)
        b = a * a
        return a + b

    tape, _ = record(f, 0.3)
    refs = np.array([0, 1, 2, 3])
    reads = Reads(Columns(list(tape.instrs)), 4, [3])
    assert reads.among(refs).tolist() == [3]
    assert reads.back_to(2).among(refs).tolist() == [1, 2, 3]
    assert reads.back_to(3).among(refs).tolist() == [1, 2, 3]
    assert reads.back_to(0).among(refs).tolist() == [0, 1, 2, 3]
    reads = Reads(Columns(list(tape.instrs)), 4, [3])
    reads.replaced(1, [tape.instrs[0]])
    assert (reads.at, reads.kept_up_to) == (1, 1)
    assert reads.among(refs).tolist() == [0, 3]


def test_many_loops_of_one_tape_with_lists() -> None:
    """Each inner loop gives a list; their rows are joined behind all of them."""

    def f(x: Any) -> Any:
        kept = []
        for i in range(3):
            seen = []
            for k in range(6):
                x = np.sin(x) + k
                seen.append(x)
            kept.append(np.array(seen) * (i + 1) if i % 2 else np.stack(seen[1:]))
            x = x + seen[2]
        return np.sum(np.concatenate(kept)) + x

    tape = rolled(f, 0.4)
    assert trips(tape) == [6, 6, 6]
    assert not any(i.prim.name == "reshape" and len(i.outs) > 1 for i in tape.instrs)
    joins = [i for i in tape.instrs if i.prim.name == "concatenate"]
    assert [len(i.args) for i in joins] == [3]
