"""README and docs: every session in them runs, and shows what really comes out.

Each page runs in a process of its own with an empty kernel cache, since counters are
part of what it shows.  A fenced block that starts with `# model.py` is that file.

    python tests/test_docs.py          put the present output into the pages
"""

from __future__ import annotations

import doctest
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
if sys.path[0] == str(ROOT / "tests"):
    # As a script: the folder tests/scipy is not the package scipy.
    del sys.path[0]
PAGES = (
    "README.md",
    "docs/architecture.md",
    "docs/define-by-run.md",
    "docs/loops.md",
    "docs/pitfalls.md",
    "docs/vmap.md",
    "docs/custom-primitives.md",
    "docs/inside-numba.md",
    "docs/scipy.md",
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

FILE = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^```.*$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
#: What differs from run to run, and what is written in its place.
ELIDED = (
    (re.compile(r"(?<=_seconds )( *)[\d.]+"), r"\1..."),
    (re.compile(r"<doctest [^>]+>"), "..."),
    (re.compile(r"(?<=\(most recent call last\):\n)(?: .*\n)+"), "    ...\n"),
)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


class Session(doctest.DocTestRunner):
    """Runs a page; `got` is the output of every example whose output is another."""

    def __init__(self) -> None:
        super().__init__(verbose=False, optionflags=FLAGS)
        self.got: list[tuple[doctest.Example, str]] = []
        self.raised = False

    def report_failure(self, out, test, example, got):
        super().report_failure(out, test, example, got)
        self.got.append((example, got))

    def report_unexpected_exception(self, out, test, example, exc_info):
        super().report_unexpected_exception(out, test, example, exc_info)
        self.raised = True


def run(page: Path) -> tuple[Session, str]:
    """Run a page in this process; its files go to the working directory."""
    text = page.read_text(encoding="utf-8")
    for name, body in FILE.findall(text):
        Path(name).write_text(body, encoding="utf-8")
    sys.path.insert(0, os.getcwd())
    plain = FENCE.sub("", text)  # else a closing fence would be expected output
    test = doctest.DocTestParser().get_doctest(plain, {}, page.name, str(page), 0)
    session, report = Session(), io.StringIO()
    session.run(test, out=report.write)
    return session, report.getvalue()


def in_a_process(page: str, *options: str) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            # -P: the packages of tests are not those of the same names outside.
            [sys.executable, "-P", __file__, *options, str(ROOT / page)],
            cwd=folder,
            env={
                **{k: v for k, v in os.environ.items() if k[:9] != "TRACEJIT_"},
                "TRACEJIT_CACHE_DIR": os.path.join(folder, "cache"),
                "PYTHONPATH": str(ROOT),
            },
            capture_output=True,
            text=True,
            check=False,
        )


def elide(text: str) -> str:
    for pattern, written in ELIDED:
        text = pattern.sub(written, text)
    return text


def update(page: Path, session: Session) -> None:
    """Write what came out into the page, from the end to the beginning."""
    lines = page.read_text(encoding="utf-8").splitlines(keepends=True)
    for example, got in reversed(session.got):
        first = example.lineno + example.source.count("\n")
        lines[first : first + example.want.count("\n")] = [
            " " * example.indent + (line if line.strip() else "<BLANKLINE>\n")
            for line in elide(got).splitlines(keepends=True)
        ]
    page.write_text("".join(lines), encoding="utf-8")


@pytest.mark.processes
@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_what_comes_out(page):
    done = in_a_process(page, "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def every_page() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", every_page(), ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", every_page(), ids=lambda page: page.name)
def test_tests_that_a_page_names_exist(page):
    for file, name in TEST.findall(page.read_text(encoding="utf-8")):
        assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), name


@pytest.mark.processes
def test_a_wrong_page_is_caught(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(">>> 1 + 1\n3\n", encoding="utf-8")
    done = in_a_process(str(page), "--check")
    assert done.returncode == 1
    assert "Got:\n    2" in done.stdout


def blocks(page: str) -> dict[str, str]:
    """The fenced Python blocks of a page by the file that their first line names."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```$", text, re.M | re.S)
    return dict(found)


@pytest.mark.processes
@pytest.mark.compiles
def test_the_walkthrough_adds_a_row(tmp_path):
    parts = blocks("docs/add-a-primitive.md")
    script = tmp_path / "walkthrough.py"
    script.write_text(WALKTHROUGH.format(parts=parts), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TRACEJIT_CACHE": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "added\n"


#: The page's blocks, each run in the module that it belongs to; then the sweep.
WALKTHROUGH = """
import numpy as np
import tracejit
from tests.ops import sweep_checks as checks
from tracejit.numpy_api import ufuncs
from tracejit.ops import elementwise, linalg
from tracejit.primitive import PRIMITIVES

parts = {parts!r}
exec(parts["tracejit/ops/elementwise.py"], vars(elementwise))
exec(parts["tracejit/numpy_api/ufuncs.py"], vars(ufuncs))
exec(parts["tracejit/ops/linalg.py"], vars(linalg))
host = PRIMITIVES["singular_values"]
for row, make in [(r, m) for r in (PRIMITIVES["cosm1"], host) for m in r.samples]:
    arrays, params = make(np.random.default_rng(0))
    checks.check_value(row, arrays, params)
    checks.check_batch(row, arrays, params)
    if row is host:
        continue
    if arrays[0].dtype == np.float64:
        checks.check_first_order(row, arrays, params)
        checks.check_second_order(row, arrays, params)
    else:
        checks.check_dtype(row, arrays, params)
exec(parts["use.py"])
print("added")
"""


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        session, report = run(Path(sys.argv[2]))
        print(report)
        sys.exit(bool(report))
    if sys.argv[1:2] == ["--update"]:
        session, report = run(Path(sys.argv[2]))
        if session.raised:
            sys.exit(report)
        update(Path(sys.argv[2]), session)
        sys.exit()
    for name in PAGES:
        print(name, in_a_process(name, "--update").stderr)
