"""Has mutmut write the mutants. Runs in the staging copy, as `python -m tests.mutation.generate`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path


def main() -> None:
    files = import_module("mutmut.utils.file_utils")
    import_module("mutmut.mutation.trampoline").set_mutant_under_test("mutant_generation")
    Path("mutants").mkdir(exist_ok=True)
    files.copy_src_dir()
    files.copy_also_copy_files()
    import_module("mutmut.__main__").create_mutants(1)


if __name__ == "__main__":
    main()
