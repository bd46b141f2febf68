"""Functions that no library offers by symbol, written as LLVM once per module.

Hurwitz zeta by the Euler-Maclaurin formula (NIST DLMF 25.11.5, 25.11.7):
the first terms of the series, the integral of the rest, and Bernoulli corrections.
"""

from __future__ import annotations

import math
from fractions import Fraction

from .ir import F64, Module, literal
from .vector_math import PURE

__all__ = ["zeta_function"]

#: So many terms are summed one by one, and more until q + k passes this number.
_DIRECT = 10
_CORRECTIONS = 12


def _bernoulli(count: int) -> list[Fraction]:
    """B_0, B_1, ... by their recurrence."""
    numbers = [Fraction(1)]
    for m in range(1, count):
        terms = (math.comb(m + 1, k) * b for k, b in enumerate(numbers))
        total = sum(terms, Fraction(0))
        numbers.append(-total / (m + 1))
    return numbers


_HEAD = """\
define internal double @tracejit_zeta(double %s, double %q) {{
entry:
  %ms = fneg double %s
  %pole = fcmp oeq double %s, 1.0
  %converges = fcmp ogt double %s, 1.0
  %fq = call double @llvm.floor.f64(double %q)
  %fs = call double @llvm.floor.f64(double %s)
  %positive = fcmp ogt double %q, 0.0
  %qwhole = fcmp oeq double %q, %fq
  %swhole = fcmp oeq double %s, %fs
  %known = fcmp ord double %q, %q
  br i1 %pole, label %infinite, label %a
a:
  %ok = and i1 %converges, %known
  br i1 %ok, label %b, label %undefined
b:
  br i1 %positive, label %loop, label %c
c:
  br i1 %qwhole, label %infinite, label %d
d:
  br i1 %swhole, label %loop, label %undefined
loop:
  %k = phi i64 [ 0, %b ], [ 0, %d ], [ %k2, %loop ]
  %x = phi double [ %q, %b ], [ %q, %d ], [ %x2, %loop ]
  %sum = phi double [ 0.0, %b ], [ 0.0, %d ], [ %sum2, %loop ]
  %term = call double @pow(double %x, double %ms) {pure}
  %sum2 = fadd double %sum, %term
  %x2 = fadd double %x, 1.0
  %k2 = add i64 %k, 1
  %few = icmp slt i64 %k2, {direct}
  %small = fcmp olt double %x2, {limit}
  %more = or i1 %few, %small
  br i1 %more, label %loop, label %rest
infinite:
  ret double 0x7FF0000000000000
undefined:
  ret double 0x7FF8000000000000
rest:
  %p0 = call double @pow(double %x2, double %ms) {pure}
  %s1 = fsub double %s, 1.0
  %integral0 = fmul double %p0, %x2
  %integral = fdiv double %integral0, %s1
  %half = fmul double %p0, 0.5
  %t0 = fadd double %sum2, %integral
  %r0 = fadd double %t0, %half
  %f0 = fdiv double %s, %x2
  %c0 = fmul double %p0, %f0
  %xx = fmul double %x2, %x2"""


def zeta_function(module: Module) -> None:
    """Define `tracejit_zeta(s, q)` in the module."""
    if "tracejit_zeta" in module.functions:
        return
    module.declare("pow", "double", "double", "double")
    module.declare("llvm.floor.f64", "double", "double")
    lines = [
        _HEAD.format(
            pure=module.attribute(PURE),
            direct=_DIRECT,
            limit=literal(F64, _DIRECT).text,
        )
    ]
    numbers = _bernoulli(2 * _CORRECTIONS + 1)
    # c_j = s (s + 1) ... (s + 2j) x**(-s - 2j - 1), from one to the next.
    for j in range(_CORRECTIONS):
        factor = numbers[2 * j + 2] / math.factorial(2 * j + 2)
        weight = literal(F64, float(factor)).text
        lines += [
            f"  %w{j} = fmul double %c{j}, {weight}",
            f"  %r{j + 1} = fadd double %r{j}, %w{j}",
            f"  %g{j} = fadd double %s, {literal(F64, 2 * j + 1).text}",
            f"  %h{j} = fadd double %s, {literal(F64, 2 * j + 2).text}",
            f"  %gh{j} = fmul double %g{j}, %h{j}",
            f"  %q{j} = fdiv double %gh{j}, %xx",
            f"  %c{j + 1} = fmul double %c{j}, %q{j}",
        ]
    lines.append(f"  ret double %r{_CORRECTIONS}\n}}")
    module.functions["tracejit_zeta"] = "\n".join(lines)
