"""The lock file and its Merkle tree (RFC 6962), so that one device can prove that it was approved.

A lock line, and so a leaf, is `device-id SP stage SP digest[,digest...]`: the digests are the full chain of
releases to the target, oldest first. Lines are sorted bytewise, UTF-8, LF.
"""

from __future__ import annotations

import hashlib
import itertools
import operator
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical

MAX_STAGE = 999
MAX_CHAIN = 16
_HASH = 32
_DEVICE = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DEVICES = re.compile(rf"{_DEVICE}(?:\n{_DEVICE})*+")
_LEAF = re.compile(
    rf"(?P<device>{_DEVICE}) (?P<stage>[1-9][0-9]{{0,2}}) "
    r"(?P<chain>sha256:[0-9a-f]{64}(?:,sha256:[0-9a-f]{64}){0,15})"
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One line of the lock: this device may move along `chain` once stage `stage` is approved."""

    device: str
    stage: int
    chain: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.device} {self.stage} {','.join(self.chain)}"

    @classmethod
    def parse(cls, text: str) -> Leaf:
        """Read one line without its LF.

        Raises:
            Refusal: `E_LOCK_INVALID` if it is not exactly of the form above, or names a release twice.
        """
        found = _LEAF.fullmatch(text)
        if not found:
            raise Refusal("E_LOCK_INVALID", f"not a lock line: {text[:80]!r}")
        chain = tuple(found["chain"].split(","))
        # Twice in the chain, a final release could pass for a stop on the way, which the policy floor spares.
        if len(set(chain)) != len(chain):
            raise Refusal("E_LOCK_INVALID", f"the lock line of {found['device']} names a release twice")
        return cls(found["device"], int(found["stage"]), chain)


@dataclass(frozen=True, slots=True)
class Proof:
    """Where a leaf stands in the tree, and the sibling hashes (hex) from the leaf up."""

    index: int
    hashes: tuple[str, ...]


class Lock:
    """All lines, sorted. `raw` is exactly the file; leaves are made when they are asked for."""

    def __init__(self, leaves: Iterable[Leaf] = (), *, lines: Sequence[str] | None = None) -> None:
        self.lines: tuple[str, ...] = tuple(map(str, leaves)) if lines is None else tuple(lines)

    @classmethod
    def of(cls, leaves: Iterable[Leaf]) -> Lock:
        return cls.of_lines(map(str, leaves))

    @classmethod
    def of_lines(cls, lines: Iterable[str]) -> Lock:
        """Return the lock of these lines, whatever their order; all of them are lines of leaves."""
        # lines are ASCII: the order of characters is the order of bytes
        return cls(lines=sorted(lines))

    @classmethod
    def parse(cls, raw: bytes) -> Lock:
        """Read a lock file.

        Raises:
            Refusal: `E_LOCK_INVALID` if lines are malformed, unsorted, doubled, or the last LF is missing.
        """
        try:
            text = raw.decode("ascii")
        except UnicodeDecodeError as error:
            raise Refusal("E_LOCK_INVALID", "a lock has only ASCII characters") from error
        if not text.endswith("\n") or "\r" in text:
            raise Refusal("E_LOCK_INVALID", "a lock has LF line ends, the last line too")
        lines = text[:-1].split("\n")
        if not _well_formed(lines):
            for line in lines:
                Leaf.parse(line)  # the first that is wrong says how
        if not all(map(operator.lt, lines, itertools.islice(lines, 1, None))):
            raise Refusal("E_LOCK_INVALID", "lock lines must be sorted, each once")
        lock = cls(lines=lines)
        if len(set(lock.devices)) != len(lines):
            raise Refusal("E_LOCK_INVALID", "a device stands in the lock twice")
        return lock

    def __eq__(self, other: object) -> bool:
        return self.lines == other.lines if isinstance(other, Lock) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.lines)

    def __repr__(self) -> str:
        return f"Lock({len(self.lines)} lines)"

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """An object for each line; for whole fleets `devices`, `stages` and `chains` are lighter."""
        chains = {text: tuple(text.split(",")) for text in self._chain_texts}
        split = (line.split(" ") for line in self.lines)
        return tuple(Leaf(device, int(stage), chains[chain]) for device, stage, chain in split)

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """The device of each line, in the order of lines."""
        return tuple([line[: line.index(" ")] for line in self.lines])

    @cached_property
    def chains(self) -> frozenset[tuple[str, ...]]:
        """The chains that stand in the lock, each once."""
        return frozenset(tuple(text.split(",")) for text in self._chain_texts)

    @property
    def _chain_texts(self) -> frozenset[str]:
        return frozenset(line[line.rindex(" ") + 1 :] for line in self.lines)

    def stages(self) -> Iterator[int]:
        """Return the stage of each line, in the order of lines."""
        known = {str(stage): stage for stage in range(1, MAX_STAGE + 1)}
        return (known[line.split(" ", 2)[1]] for line in self.lines)

    @cached_property
    def raw(self) -> bytes:
        return "".join([f"{line}\n" for line in self.lines]).encode()

    @cached_property
    def digest(self) -> str:
        """Return the digest of the file."""
        return canonical.digest(self.raw)

    def tree(self) -> MerkleTree:
        """Return the tree over the lines, made once."""
        return self._tree

    @cached_property
    def _tree(self) -> MerkleTree:
        return MerkleTree(self.lines)


def _well_formed(lines: Sequence[str]) -> bool:
    """Tell whether each line is one of a leaf: what repeats (stage and chain) is looked at once."""
    heads: list[str] = []
    rests: set[str] = set()
    for line in lines:
        head, _, rest = line.partition(" ")
        heads.append(head)
        rests.add(rest)
    if not _DEVICES.fullmatch("\n".join(heads)):
        return False
    try:
        for rest in rests:
            Leaf.parse(f"a {rest}")
    except Refusal:
        return False
    return True


class MerkleTree:
    """RFC 6962 section 2.1 over `leaves`, all levels kept: a proof costs one look-up per level."""

    def __init__(self, leaves: Sequence[bytes | str]) -> None:
        if not leaves:
            raise Refusal("E_LOCK_INVALID", "a lock has at least one line")
        sha256 = hashlib.sha256
        encoded = (leaf.encode() if isinstance(leaf, str) else leaf for leaf in leaves)
        levels = [b"".join([sha256(b"\0" + leaf).digest() for leaf in encoded])]
        while len(levels[-1]) > _HASH:
            level = levels[-1]
            even = len(level) - len(level) % (2 * _HASH)
            above = [sha256(b"\1" + level[at : at + 2 * _HASH]).digest() for at in range(0, even, 2 * _HASH)]
            # An odd node rises unchanged: the left-filled tree of RFC 6962 seen from below.
            levels.append(b"".join(above) + level[even:])
        self._levels = levels

    @property
    def root(self) -> str:
        return "sha256:" + self._levels[-1].hex()

    @property
    def size(self) -> int:
        return len(self._levels[0]) // _HASH

    def proof(self, index: int) -> Proof:
        """Return the inclusion proof of leaf `index` (RFC 6962 section 2.1.1)."""
        hashes, at = [], index
        for level in self._levels[:-1]:
            sibling = level[(at ^ 1) * _HASH : (at ^ 1) * _HASH + _HASH]
            if sibling:
                hashes.append(sibling.hex())
            at //= 2
        return Proof(index, tuple(hashes))


def verify_inclusion(leaf: str, proof: Proof, *, root: str, size: int) -> None:
    """Check that `leaf` stands at `proof.index` in the tree of `size` leaves (RFC 9162 section 2.1.3.2).

    Raises:
        Refusal: `E_NOT_APPROVED` in every other case.
    """
    node = hashlib.sha256(b"\0" + leaf.encode()).digest()
    at, last, left = proof.index, size - 1, list(proof.hashes)
    fine = 0 <= at < size
    while fine and last > 0:
        if at % 2 or at < last:
            if not left:
                fine = False
                break
            sibling = bytes.fromhex(left.pop(0))
            node = _node(sibling, node) if at % 2 else _node(node, sibling)
        at, last = at // 2, last // 2
    if not fine or left or "sha256:" + node.hex() != root:
        raise Refusal("E_NOT_APPROVED", "the proof does not place this device in the approved lock")


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()
