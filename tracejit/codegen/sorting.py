"""A stable merge sort of indices, written as LLVM once per module and dtype.

Bottom-up: runs of 1, 2, 4, ... indices are merged from one scratch array into the
other.  The right element goes first only if it is strictly less, where a NaN is
greater than every number; so equal elements and NaNs keep their order.
"""

from __future__ import annotations

import numpy as np

from ..avals import dtype_name
from .ir import Module, memory_type

__all__ = ["argsort_function"]

_TEXT = """\
define internal void @{name}(ptr %x, i64 %stride, ptr %out, i64 %n, ptr %scratch) {{
entry:
  %second = getelementptr inbounds i64, ptr %scratch, i64 %n
  %none = icmp eq i64 %n, 0
  br i1 %none, label %end, label %fill
fill:
  %f = phi i64 [ 0, %entry ], [ %f1, %fill ]
  %fp = getelementptr inbounds i64, ptr %scratch, i64 %f
  store i64 %f, ptr %fp
  %f1 = add nuw nsw i64 %f, 1
  %fmore = icmp slt i64 %f1, %n
  br i1 %fmore, label %fill, label %pass
pass:
  %width = phi i64 [ 1, %fill ], [ %wider, %passed ]
  %from = phi ptr [ %scratch, %fill ], [ %to, %passed ]
  %to = phi ptr [ %second, %fill ], [ %from, %passed ]
  %again = icmp slt i64 %width, %n
  br i1 %again, label %pair, label %write
pair:
  %lo = phi i64 [ 0, %pass ], [ %hi, %paired ]
  %m0 = add nsw i64 %lo, %width
  %mid = call i64 @llvm.smin.i64(i64 %m0, i64 %n)
  %h0 = add nsw i64 %mid, %width
  %hi = call i64 @llvm.smin.i64(i64 %h0, i64 %n)
  br label %merge
merge:
  %k = phi i64 [ %lo, %pair ], [ %k1, %placed ]
  %a = phi i64 [ %lo, %pair ], [ %a1, %placed ]
  %b = phi i64 [ %mid, %pair ], [ %b1, %placed ]
  %more = icmp slt i64 %k, %hi
  br i1 %more, label %choose, label %paired
choose:
  %aend = icmp sge i64 %a, %mid
  %bend = icmp sge i64 %b, %hi
  %one = or i1 %aend, %bend
  br i1 %one, label %place, label %compare
compare:
  %ap = getelementptr inbounds i64, ptr %from, i64 %a
  %ai = load i64, ptr %ap
  %ao = mul nsw i64 %ai, %stride
  %aq = getelementptr inbounds {kind}, ptr %x, i64 %ao
  %left = load {kind}, ptr %aq, align {align}
  %bp = getelementptr inbounds i64, ptr %from, i64 %b
  %bi = load i64, ptr %bp
  %bo = mul nsw i64 %bi, %stride
  %bq = getelementptr inbounds {kind}, ptr %x, i64 %bo
  %right = load {kind}, ptr %bq, align {align}
{less}
  br label %place
place:
  %right1 = phi i1 [ %aend, %choose ], [ %less, %compare ]
  %pick = select i1 %right1, i64 %b, i64 %a
  %pp = getelementptr inbounds i64, ptr %from, i64 %pick
  %index = load i64, ptr %pp
  %kp = getelementptr inbounds i64, ptr %to, i64 %k
  store i64 %index, ptr %kp
  %bstep = zext i1 %right1 to i64
  %left1 = xor i1 %right1, true
  %astep = zext i1 %left1 to i64
  br label %placed
placed:
  %a1 = add nsw i64 %a, %astep
  %b1 = add nsw i64 %b, %bstep
  %k1 = add nuw nsw i64 %k, 1
  br label %merge
paired:
  %pmore = icmp slt i64 %hi, %n
  br i1 %pmore, label %pair, label %passed
passed:
  %wider = shl nsw i64 %width, 1
  br label %pass
write:
  %w = phi i64 [ 0, %pass ], [ %w1, %write ]
  %wp = getelementptr inbounds i64, ptr %from, i64 %w
  %wi = load i64, ptr %wp
  %wo = mul nsw i64 %w, %stride
  %wq = getelementptr inbounds i64, ptr %out, i64 %wo
  store i64 %wi, ptr %wq, align 8
  %w1 = add nuw nsw i64 %w, 1
  %wmore = icmp slt i64 %w1, %n
  br i1 %wmore, label %write, label %end
end:
  ret void
}}"""

_LESS_FLOAT = """\
  %smaller = fcmp olt {kind} %right, %left
  %leftnan = fcmp uno {kind} %left, %left
  %rightnumber = fcmp ord {kind} %right, %right
  %before = and i1 %leftnan, %rightnumber
  %less = or i1 %smaller, %before"""


def argsort_function(module: Module, dtype: np.dtype) -> str:
    """Define the sort for this dtype; return its name."""
    name = f"tracejit_argsort_{dtype_name(dtype)}"
    kind = memory_type(dtype)
    if dtype.kind == "f":
        less = _LESS_FLOAT.format(kind=kind)
    else:
        sign = "s" if dtype.kind == "i" else "u"
        less = f"  %less = icmp {sign}lt {kind} %right, %left"
    module.declare("llvm.smin.i64", "i64", "i64", "i64")
    text = _TEXT.format(name=name, kind=kind, align=dtype.itemsize, less=less)
    module.functions.setdefault(name, text)
    return name
