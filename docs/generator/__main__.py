"""`python -m docs.generator`: write what differs."""

from __future__ import annotations

import sys

from docs.generator import ROOT, stale

for path, text in stale().items():
    (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / path).write_text(text, "utf-8")
    sys.stdout.write(f"wrote {path}\n")
