"""`docs/ops.md` is what the rows say."""

from __future__ import annotations

import runpy
from pathlib import Path

import tracejit.ops  # noqa: F401  (registers the rows)
from tracejit.primitive import PRIMITIVES

SCRIPT = Path(__file__).resolve().parents[1] / "docs" / "generate_op_reference.py"
REFERENCE = runpy.run_path(str(SCRIPT))


def test_the_page_is_not_stale():
    written = REFERENCE["PAGE"].read_text(encoding="utf-8")
    assert written == REFERENCE["page"](), "run python docs/generate_op_reference.py"


def test_every_row_is_in_it():
    text = REFERENCE["page"]()
    for name in PRIMITIVES:
        assert f"\n| `{name}` |" in text


def test_what_it_says_of_some_rows():
    text = REFERENCE["page"]()
    assert "| `sin` | `np.sin` | float complex | partials | `sin(a)` |" in text
    assert "| `bit_or` | `np.bitwise_or` | bool int uint | zero | `a \\| b` |" in text
    assert "| `triangular_solve` | `a, b` | `lower, trans` | rules | yes |" in text
    assert "| `gather` | `x, idx` | `axis` | linear: x | yes |" in text
