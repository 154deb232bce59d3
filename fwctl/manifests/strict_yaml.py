"""One strict YAML document to plain Python values, in one pass over the parser's events.

No composing, no constructors: libyaml's composer recurses (and crashes on deep nesting), PyYAML's
constructors expand aliases and guess types. Limits are checked while the events arrive, before anything
is built from them. Findings that leave the structure clear are collected and reading goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from yaml import MarkedYAMLError, YAMLError
from yaml._yaml import CParser
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
)

from fwctl.manifests.diagnostic import UNSAFE, Loc, quoted
from fwctl.manifests.scalar_kinds import Surprise, resolve


class Limits(NamedTuple):
    """Upper bounds for one file."""

    size: int
    nodes: int
    depth: int = 24
    scalar: int = 65536


SMALL: Final = Limits(size=2**20, nodes=50_000)
LARGE: Final = Limits(size=64 * 2**20, nodes=6_000_000)  # an inventory of 100,000 devices is about 15 MiB
MAX_FINDINGS: Final = 500
_UNSAFE_BYTES: Final = bytes(byte for byte in range(128) if UNSAFE.match(chr(byte)))


@dataclass(frozen=True, slots=True)
class YamlFinding:
    """A finding of the reader. Lines and columns count from 1; line 0 means the whole file."""

    code: str
    message: str
    line: int
    column: int
    end_column: int
    loc: Loc = ()
    remedy: str = ""
    first: tuple[int, int, int] | None = None
    first_message: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """What was read. Where `complete` is False the value is not what the author meant and says nothing."""

    value: Any = None
    complete: bool = False
    findings: tuple[YamlFinding, ...] = ()


class _Stop(Exception):
    """Reading cannot go on; the finding is recorded already."""


@dataclass(slots=True)
class _Frame:
    items: dict[str, Any] | list[Any]
    key: str | None = None
    inside: str | int = 0  # which child is being read, once its collection has been placed
    keys: dict[str, Any] = field(default_factory=dict)


def read(data: bytes, limits: Limits) -> Document:
    """Read one document. Never raises for what the bytes are."""
    if len(data) > limits.size:
        size = f"the file has {len(data)} bytes, more than the {limits.size} allowed"
        return Document(findings=(YamlFinding("E_YAML_LIMIT", size, 0, 0, 0),))
    trouble = encoding(data)
    return Document(findings=trouble) if trouble else _Reader(limits).read(data)


def encoding(data: bytes) -> tuple[YamlFinding, ...]:
    """Find what is not UTF-8 text of visible characters, tabs and line feeds."""
    if data.isascii() and len(data.translate(None, _UNSAFE_BYTES)) == len(data):
        return ()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        return (_at(before, "the file is not UTF-8 here", f"byte 0x{data[error.start]:02x}"),)
    findings: list[YamlFinding] = []
    for found in UNSAFE.finditer(text):
        if found[0] == "\r":
            if not any("carriage" in f.message for f in findings):
                what = "the file has carriage returns (CRLF line ends)"
                remedy = "Save it with LF line ends, such as `dos2unix` or `git config core.autocrlf input` give."
                findings.append(_at(text[: found.start()], what, "", remedy))
        elif found[0] == "\ufeff" and found.start() == 0:
            findings.append(_at("", "the file starts with a byte order mark", ""))
        else:
            findings.append(_at(text[: found.start()], "a character is not allowed", f"U+{ord(found[0]):04X}"))
        if len(findings) >= 20:
            break
    return tuple(findings)


def _at(before: str, what: str, detail: str, remedy: str = "") -> YamlFinding:
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    message = f"{what}: {detail}" if detail else what
    return YamlFinding("E_YAML_ENCODING", message, line, column, column + 1, remedy=remedy)


class _Reader:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._findings: list[YamlFinding] = []
        self._stack: list[_Frame] = []
        self._root: Any = None
        self._documents = 0
        self._clear = True

    def read(self, data: bytes) -> Document:
        parser = CParser(data)
        try:
            self._events(parser)
        except _Stop:
            self._clear = False
        except YAMLError as error:
            self._clear = False
            self._syntax(error, data)
        except (UnicodeError, ValueError, MemoryError) as error:  # libyaml's own limits
            self._clear = False
            self._findings.append(YamlFinding("E_YAML_SYNTAX", f"not readable: {quoted(error)}", 1, 1, 1))
        finally:
            parser.dispose()
        return Document(self._root, self._clear and self._documents == 1, tuple(self._findings))

    def _syntax(self, error: YAMLError, data: bytes) -> None:
        mark, context_mark = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
        last = data.count(b"\n") + (not data.endswith(b"\n"))
        if mark is None or (context_mark is not None and mark.line >= last):
            mark = context_mark  # found at the end of the file: show what is not finished
        line, column = (min(mark.line + 1, max(last, 1)), mark.column + 1) if mark is not None else (1, 1)
        problem = error.problem if isinstance(error, MarkedYAMLError) else getattr(error, "reason", None)
        context = getattr(error, "context", None)
        message = ": ".join(str(part) for part in (context, problem or "not YAML") if part)
        self._findings.append(YamlFinding("E_YAML_SYNTAX", message, line, column, column + 1))

    def _events(self, parser: CParser) -> None:
        limit = self._limits.nodes
        nodes = 0
        while (event := parser.get_event()) is not None:
            kind: type = type(event)
            if kind is ScalarEvent:
                nodes += 1
                self._scalar(event)
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                self._stack.pop()
            elif isinstance(event, CollectionStartEvent):
                nodes += 1
                self._start(event)
            elif isinstance(event, AliasEvent):
                self._clear = False
                self._note("E_YAML_ALIAS", f"alias {quoted('*' + str(event.anchor))}", event)
                self._place(None, event)
            elif kind is DocumentStartEvent:
                self._document(event)
            if nodes > limit:
                self._note("E_YAML_LIMIT", f"more than {limit} values", event)
                raise _Stop

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            self._note("E_YAML_MULTIDOC", "a second document starts here", event)
            raise _Stop
        if event.version or event.tags:
            self._note("E_YAML_TAG", "a directive", event)

    def _start(self, event: Any) -> None:
        if len(self._stack) >= self._limits.depth:
            self._note("E_YAML_LIMIT", f"nested deeper than {self._limits.depth} levels", event)
            raise _Stop
        self._marks(event)
        items: dict[str, Any] | list[Any] = {} if type(event) is MappingStartEvent else []
        self._place(items, event)
        self._stack.append(_Frame(items))

    def _scalar(self, event: Any) -> None:
        text: str = event.value
        if len(text) > self._limits.scalar:
            self._note("E_YAML_LIMIT", f"a value of more than {self._limits.scalar} characters", event)
            raise _Stop
        if event.anchor or event.tag:
            self._marks(event)
        frame = self._stack[-1] if self._stack else None
        is_key = frame is not None and frame.key is None and isinstance(frame.items, dict)
        value: Any = text
        if event.implicit[0]:
            if is_key and text == "<<":
                self._clear = False
                self._note("E_YAML_MERGE", "the merge key `<<`", event)
            else:
                value = self._resolved(text, event, is_key)
        elif not text.isprintable() and UNSAFE.search(text):
            self._note("E_YAML_ENCODING", "the text has an escaped control character", event)
            value = UNSAFE.sub("?", text)
        if is_key and frame is not None:
            self._key(frame, value, event)
        else:
            self._place(value, event)

    def _resolved(self, text: str, event: Any, is_key: bool) -> Any:
        try:
            value = resolve(text)
        except Surprise as surprise:
            self._note(surprise.code, f"{quoted(text)} {surprise}", event, remedy=surprise.remedy)
            return text
        if is_key and not isinstance(value, str):
            shown = quoted(text) if text else "an empty key"
            self._note("E_TYPE", f"a key must be text: {shown}", event, remedy=f'Quote it: "{text}".')
            return text
        return value

    def _key(self, frame: _Frame, key: str, event: Any) -> None:
        frame.key = key
        first = frame.keys.setdefault(key, event)
        if first is not event:
            mark = first.start_mark
            at = (mark.line + 1, mark.column + 1, first.end_mark.column + 1)
            self._note("E_YAML_DUPKEY", f"the key {quoted(key)} stands here again", event, first=at)

    def _place(self, value: Any, event: Any) -> None:
        if not self._stack:
            self._root = value
            return
        frame = self._stack[-1]
        if isinstance(frame.items, list):
            frame.inside = len(frame.items)
            frame.items.append(value)
        elif frame.key is None:
            self._note("E_TYPE", "a key must be text", event)
            raise _Stop
        else:
            frame.items.setdefault(frame.key, value)
            frame.inside, frame.key = frame.key, None

    def _marks(self, event: Any) -> None:
        if event.anchor:
            self._note("E_YAML_ALIAS", f"anchor {quoted('&' + str(event.anchor))}", event)
        if event.tag:
            self._note("E_YAML_TAG", f"tag {quoted(event.tag)}", event)

    def _loc(self) -> Loc:
        """Return where the value is that comes next."""
        parts: list[str | int] = [frame.inside for frame in self._stack[:-1]]
        if self._stack:
            top = self._stack[-1]
            if isinstance(top.items, list):
                parts.append(len(top.items))
            elif top.key is not None:
                parts.append(top.key)
        return tuple(parts)

    def _note(
        self, code: str, message: str, event: Any, *, remedy: str = "", first: tuple[int, int, int] | None = None
    ) -> None:
        start, end = event.start_mark, event.end_mark
        column = start.column + 1
        end_column = end.column + 1 if end.line == start.line and end.column > start.column else column + 1
        again = "it stands here first" if first else ""
        self._findings.append(
            YamlFinding(code, message, start.line + 1, column, end_column, self._loc(), remedy, first, again)
        )
        if len(self._findings) >= MAX_FINDINGS:
            last = YamlFinding("I_TRUNCATED", "there are more findings in this file", start.line + 1, column, column)
            self._findings.append(last)
            raise _Stop
