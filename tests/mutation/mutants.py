"""What mutmut has found: each mutant with its change, and whether a test noticed."""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

Status = str
"""`killed`, `timeout`, `survived`, or one of these"""
NOT_TRIED: Final = "not tried"
WORDS: Final = "words"
_NAME: Final = re.compile(r"x(?:_|ǁ(?P<class>\w+)ǁ)(?P<function>\w+)__mutmut_\d+")
_WORDS: Final = {
    "Refusal": (1,),
    "refuse": (0, 1),
    "ValueError": (0,),
    "matching": (1,),
    "Fields": (1,),
    "distinct": (1,),
    "vet": (1,),
    "cast": (0,),
    "parse_metadata": (2,),
    "_named": (0,),
    "_refused": (0,),
    "_unreadable": (0,),
    "unreadable": (1,),
    "_check_version": (0,),
    "_check_expiry": (1,),
    "_check_meta": (3,),
}
"""calls that take a text for people (or, as `cast` does, for type checkers alone), and which arguments it is"""
_SAID: Final = ("names", "why", "ignored", "asked")
"""variables of text for people; `ignored` only where it is joined"""


@dataclass(frozen=True)
class Mutant:
    """One change of one function."""

    module: str
    name: str
    status: Status
    before: str
    after: str

    @property
    def key(self) -> str:
        """mutmut's name of it."""
        return f"{self.module}.{self.name}"

    @cached_property
    def function(self) -> str:
        found = _NAME.fullmatch(self.name)
        if found is None:
            return self.name
        return f"{found['class']}.{found['function']}" if found["class"] else found["function"]

    @cached_property
    def change(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The lines that are gone, and those that came."""
        lines = list(difflib.ndiff(self.before.splitlines(), self.after.splitlines()))
        return tuple(_marked(lines, "- ")), tuple(_marked(lines, "+ "))

    @cached_property
    def id(self) -> str:
        """The same as long as the function's name and the change are: mutmut's own numbers move."""
        return hashlib.sha256(repr((self.module, self.function, self.change)).encode()).hexdigest()[:10]

    @cached_property
    def only_words(self) -> bool:
        """Say whether nothing but a text for people is another one: no test is to depend on its wording."""
        return _plain(self.before) == _plain(self.after)


def _marked(lines: list[str], mark: str) -> Iterator[str]:
    return (line.removeprefix(mark).strip() for line in lines if line.startswith(mark))


def read(tree: Path, verdicts: Mapping[str, Status]) -> list[Mutant]:
    """Read all mutants of a staging copy, each with its verdict."""
    found: list[Mutant] = []
    for meta in sorted((tree / "mutants").rglob("*.py.meta")):
        source = meta.with_suffix("")
        module = source.relative_to(tree / "mutants").with_suffix("").as_posix().replace("/", ".")
        texts = _functions(source)
        for name in json.loads(meta.read_text("utf-8"))["exit_code_by_key"]:
            short = name.rpartition(".")[2]
            original = short.rpartition("__mutmut_")[0] + "__mutmut_orig"
            one = Mutant(module, short, verdicts.get(name, NOT_TRIED), texts[original], texts[short])
            found.append(replace(one, status=WORDS) if one.only_words else one)
    return found


def _functions(source: Path) -> dict[str, str]:
    """Return each generated function's text, under one name, so that they can be compared."""
    tree = ast.parse(source.read_text("utf-8"))
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and "__mutmut_" in node.name:
            name, node.name = node.name, "function"
            found[name] = ast.unparse(node)
    return found


class _Wordless(ast.NodeTransformer):
    """Takes the texts for people out."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for at in _WORDS.get(function, ()):
            if len(node.args) > at:
                node.args[at] = ast.Constant("...")
        for keyword in node.keywords:
            if keyword.arg == "what":
                keyword.value = ast.Constant("...")
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.generic_visit(node)
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id in _SAID and "join" in ast.unparse(node.value):
            node.value = ast.Constant("...")
        return node


def _plain(text: str) -> str:
    return ast.unparse(_Wordless().visit(ast.parse(text)))
