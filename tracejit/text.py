"""The tape's one syntax: `print_tape` and `parse_tape` are inverse to each other.

    tape loss(%0: f64[3], %1: f64[]):
      %2: f64[3] = mul %0 %1                        ; model.py:12
      %3: f64[] = sum %2 {axes=(0,)}                ; model.py:12
      %4: bool[] = gt %3 %1                         ; model.py:13
      guard %4 is True -> exit 0                    ; model.py:13  if r > 0:
      return %3

One instruction a line, types on what is defined, the user's position at the right
margin.  Params are Python literals and dtype names.  Rule objects (`custom_vjp`) print
as `<name>`; `parse_tape` finds them in its `rules`.  Params that are tapes themselves
stand below the instruction, each up to its `return`:

    %3: f64[] = loop %0 %1 {trip=9, consts=1, carries=1, reverse=False}
      body: tape step(%0: i64[], %1: f64[], %2: f64[]):
        %3: f64[] = mul %1 %2
        return %3
"""

from __future__ import annotations

import ast
import linecache
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from .avals import DTYPE_NAMES, Aval, dtype_name, parse_aval
from .primitive import PRIMITIVES
from .tape import Instr, Source, Tape, _printer, const, guard, inner_tapes

__all__ = [
    "Position",
    "body_text",
    "parse_tape",
    "print_instr",
    "print_tape",
    "rule_name",
]

_MARGIN = 48


@dataclass(frozen=True)
class Position:
    """A source position that was read from text: `model.py:12`, and no more.

    Attributes: file, line, and `code`, the text of the line if it was printed.
    """

    file: str
    line: int
    code: str = ""
    function: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    @classmethod
    def parse(cls, comment: str) -> Position:
        place, _, code = comment.partition("  ")
        file, _, line = place.rpartition(":")
        return cls(file, int(line), code)


# --- printing


def print_tape(tape: Tape, *, sources: bool = True) -> str:
    """The text of a tape.

    Args:
        tape: what to print.
        sources: whether the user's positions stand at the right margin.

    Example:
        >>> import tracejit.ops
        >>> text = "tape f(%0: f64[]):\\n  %1: f64[] = neg %0\\n  return %1"
        >>> print(print_tape(parse_tape(text)))
        tape f(%0: f64[]):
          %1: f64[] = neg %0
          return %1
    """
    return "\n".join(_lines(tape, sources, ""))


_FAMILY = re.compile(r"family=\d+")


def body_text(body: Tape) -> str:
    """Equal for bodies that do the same.

    Without the user's positions; families of loops are numbered anew, and a rule is
    what it says of itself.
    """
    families: dict[str, str] = {}
    text = _FAMILY.sub(
        lambda found: families.setdefault(found[0], f"family={len(families)}"),
        print_tape(body, sources=False),
    )
    rules = [
        rule.alike() if hasattr(rule, "alike") else id(rule) for rule in _rules(body)
    ]
    return f"{text}\n{rules!r}" if rules else text


def _rules(tape: Tape) -> Iterator[Any]:
    for instr in tape.instrs:
        if "rule" in instr.params:
            yield instr.params["rule"]
        for inner in inner_tapes(instr):
            yield from _rules(inner)


def _lines(tape: Tape, sources: bool, indent: str) -> Iterator[str]:
    head = ", ".join(_typed(tape, ref) for ref in tape.inputs)
    yield f"tape {tape.name}({head}):"
    for instr in tape.instrs:
        line = f"{indent}  {print_instr(tape, instr)}"
        if sources and instr.source is not None:
            line = f"{line:<{_MARGIN}}; {_position(instr)}"
        yield line
        for name, value in instr.params.items():
            if isinstance(value, Tape):
                head, *rest = _lines(value, sources, f"{indent}    ")
                yield f"{indent}    {name}: {head}"
                yield from rest
    yield " ".join([f"{indent}  return", *map(_ref, tape.outputs)])


def print_instr(tape: Tape, instr: Instr) -> str:
    """One instruction without its position, and without the tapes in it."""
    if instr.prim is guard:
        expected, exit = instr.params["expected"], instr.params["exit"]
        number = "".join(f" + {_ref(r)}" for r in instr.args[1:])
        value = _ref(instr.args[0])
        return f"guard {value} is {_value(expected)} -> exit {exit}{number}"
    if instr.prim is const:
        return f"{_typed(tape, instr.outs[0])} = {_value(instr.params['value'])}"
    plain = [(k, v) for k, v in instr.params.items() if not isinstance(v, Tape)]
    params = ", ".join(f"{k}={_value(v)}" for k, v in plain)
    words = [instr.prim.name, *map(_ref, instr.args)]
    if params:
        words.append(f"{{{params}}}")
    outs = ", ".join(_typed(tape, ref) for ref in instr.outs)
    return f"{outs} = {' '.join(words)}" if outs else " ".join(words)


def _ref(ref: int) -> str:
    return f"%{ref}"


def _typed(tape: Tape, ref: int) -> str:
    return f"%{ref}: {tape.avals[ref]!r}"


def _value(value: Any) -> str:
    if isinstance(value, np.dtype):
        return dtype_name(value)
    if isinstance(value, tuple):
        inner = ", ".join(map(_value, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, complex):
        # repr loses the sign of a zero.
        return f"complex({value.real!r}, {value.imag!r})"
    return f"<{rule_name(value)}>"


def rule_name(rule: Any) -> str:
    """How a rule object is called on a tape."""
    return getattr(rule, "name", None) or type(rule).__name__


def _position(instr: Instr) -> str:
    source = instr.source
    if instr.prim is guard and isinstance(source, Source):
        code = linecache.getline(source.file, source.line).strip()
    else:
        code = source.code if isinstance(source, Position) else ""
    return f"{source}  {code}".rstrip()


# --- parsing

_HEAD = re.compile(r"tape (?P<name>\S+)\((?P<inputs>.*)\):")
_INNER = re.compile(r"(?P<param>\w+): (?P<head>tape .*)")
_GUARD = re.compile(
    r"guard %(?P<ref>\d+) is (?P<expected>.+) -> exit (?P<exit>\d+)"
    r"( \+ %(?P<number>\d+))?"
)
_TYPED = re.compile(r"%(\d+): (\w+\[[\d,]*\])")
_INSTR = re.compile(
    r"((?P<outs>%.*?) = )?(?P<name>[a-z_]\w*)(?P<args>( %\d+)*)( \{(?P<params>.*)\})?"
)
_NUMBER = r"-?[\d.]+(e[+-]?\d+)?|-?inf|nan|True|False"
_COMPLEX = rf"complex\(({_NUMBER}), ({_NUMBER})\)"
_CONST = re.compile(rf"(?P<outs>%\S+ \S+) = (?P<value>{_NUMBER}|{_COMPLEX})")


def parse_tape(text: str, rules: Mapping[str, Any] | None = None) -> Tape:
    """Read a tape back.

    Args:
        text: what `print_tape` gives; empty lines are allowed.
        rules: the objects that `<name>` params stand for.

    Raises:
        ValueError: with the line that is not an instruction.
    """
    lines = [line for line in text.strip().splitlines() if line.strip()]
    rest = iter(lines[1:])
    tape = _parse_block(lines[0].strip(), rest, rules or {})
    if tape is None or next(rest, None) is not None:
        raise ValueError(f"a tape ends with return, not with {lines[-1]!r}")
    return tape


def _parse_block(
    head: str, lines: Iterator[str], rules: Mapping[str, Any]
) -> Tape | None:
    """The tape with this head, its lines taken off `lines`; None without a return."""
    found = _HEAD.fullmatch(head)
    if found is None:
        raise ValueError(f"not the head of a tape: {head!r}")
    avals: dict[int, Aval] = {}
    inputs = _define(found["inputs"], avals)
    instrs: list[Instr] = []
    for line in lines:
        words = line.split()
        if words[0] == "return":
            outputs = tuple(int(word[1:]) for word in words[1:])
            # Numbers that no instr defines (a pass may leave gaps) get an empty type.
            gap = Aval((), np.dtype(np.float64))
            table = tuple(avals.get(i, gap) for i in range(max(avals, default=-1) + 1))
            return Tape(inputs, tuple(instrs), outputs, table, found["name"])
        if inner := _INNER.fullmatch(line.strip()):
            tape = _parse_block(inner["head"], lines, rules)
            if tape is None or not instrs:
                return None
            instrs[-1].params[inner["param"]] = tape
            continue
        body, _, comment = line.partition(";")
        instrs.append(_parse_instr(body.strip(), comment.strip(), avals, rules))
    return None


def _define(text: str | None, avals: dict[int, Aval]) -> tuple[int, ...]:
    refs = []
    for number, aval in _TYPED.findall(text or ""):
        avals[int(number)] = parse_aval(aval)
        refs.append(int(number))
    return tuple(refs)


def _parse_instr(
    body: str, comment: str, avals: dict[int, Aval], rules: Mapping[str, Any]
) -> Instr:
    source = cast(Source, Position.parse(comment)) if comment else None
    if match := _GUARD.fullmatch(body):
        params = {"expected": _literal(match["expected"], rules)}
        params["exit"] = int(match["exit"])
        refs = [int(match[k]) for k in ("ref", "number") if match[k]]
        return Instr(guard, tuple(refs), params, (), source)
    if match := _CONST.fullmatch(body):
        outs = _define(match["outs"], avals)
        value = _literal(match["value"], rules)
        params = {"value": value, "dtype": avals[outs[0]].dtype}
        return Instr(const, (), params, outs, source)
    match = _INSTR.fullmatch(body)
    if match is None or match["name"] not in PRIMITIVES:
        raise ValueError(f"not an instruction: {body!r}")
    args = tuple(int(word[1:]) for word in match["args"].split())
    params = _params(match["params"], rules)
    outs = _define(match["outs"], avals)
    return Instr(PRIMITIVES[match["name"]], args, params, outs, source)


def _params(text: str | None, rules: Mapping[str, Any]) -> dict[str, Any]:
    if not text:
        return {}
    call = ast.parse(f"f({_quote_rules(text)})", mode="eval").body
    assert isinstance(call, ast.Call)
    return {str(k.arg): _evaluate(k.value, rules) for k in call.keywords}


def _literal(text: str, rules: Mapping[str, Any]) -> Any:
    return _evaluate(ast.parse(_quote_rules(text), mode="eval").body, rules)


def _quote_rules(text: str) -> str:
    return re.sub(r"<([^<>]+)>", r"rule(\1=0)", text) if "<" in text else text


def _evaluate(tree: ast.expr, rules: Mapping[str, Any]) -> Any:
    if isinstance(tree, ast.Tuple):
        return tuple(_evaluate(e, rules) for e in tree.elts)
    if isinstance(tree, ast.Name):
        special = {"inf": math.inf, "nan": math.nan}
        return special[tree.id] if tree.id in special else DTYPE_NAMES[tree.id]
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        return -_evaluate(tree.operand, rules)
    if isinstance(tree, ast.Call) and getattr(tree.func, "id", "") == "complex":
        return complex(*[_evaluate(part, rules) for part in tree.args])
    if isinstance(tree, ast.Call):
        return rules[str(tree.keywords[0].arg)]
    return ast.literal_eval(tree)


_printer.append(print_tape)
