"""Each promise of docs/guarantees.md names its proof, and that proof exists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PROOF = re.compile(r"`((?:[\w/]+/)?test_\w+\.py)(?:::(test_\w+))?`")


def test_every_proof_exists(root: Path) -> None:
    proofs = PROOF.findall((root / "docs/guarantees.md").read_text(encoding="utf-8"))
    assert len(proofs) > 30
    files = [*(root / "tests").rglob("test_*.py"), *(root / "integration").rglob("test_*.py")]
    missing = [
        f"{file}::{test}"
        for file, test in proofs
        if not any(
            f"/{file}" in each.as_posix() and f"def {test}" in each.read_text(encoding="utf-8") for each in files
        )
    ]
    assert not missing


def test_every_promise_in_a_table_names_one(root: Path) -> None:
    text = (root / "docs/guarantees.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\| promise \| proof \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) > 20
    assert [row for row in rows if not PROOF.search(row)] == []
