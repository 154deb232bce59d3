"""`make health-study`: measure, and write `docs/health-analysis/study.json`, its curves and the page's tables."""

from __future__ import annotations

import json
import sys

from tests.study.page import RECORD, write
from tests.study.simulate import everything


def main() -> None:
    RECORD.parent.mkdir(exist_ok=True)
    if "--page" not in sys.argv:
        rows = everything()
        found = {name: ",\n".join(json.dumps(row) for row in some) for name, some in rows.items()}
        lines = (f'"{name}": [\n{text}\n]' for name, text in found.items())
        RECORD.write_text("{" + ",\n".join(lines) + "}\n", "utf-8", newline="\n")
    write()


if __name__ == "__main__":
    main()
