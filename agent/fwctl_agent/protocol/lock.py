"""The lock file and its Merkle tree (RFC 6962), so that one device can prove that it was approved.

A lock line, and so a leaf, is `device-id SP stage SP digest[,digest...]`: the digests are the full chain of
releases to the target, oldest first. Lines are sorted bytewise, UTF-8, LF.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fwctl_agent.errors import Refusal

MAX_STAGE = 999
MAX_CHAIN = 16
_LEAF = re.compile(
    r"(?P<device>[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?) (?P<stage>[1-9][0-9]{0,2}) "
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


@dataclass(frozen=True)
class Lock:
    """All leaves, sorted. `raw` is exactly the file."""

    leaves: tuple[Leaf, ...]

    @classmethod
    def of(cls, leaves: Iterable[Leaf]) -> Lock:
        return cls(tuple(sorted(leaves, key=lambda leaf: str(leaf).encode())))

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
        leaves = tuple(Leaf.parse(line) for line in lines)
        if any(first.encode() >= second.encode() for first, second in itertools.pairwise(lines)):
            raise Refusal("E_LOCK_INVALID", "lock lines must be sorted, each once")
        if len({leaf.device for leaf in leaves}) != len(leaves):
            raise Refusal("E_LOCK_INVALID", "a device stands in the lock twice")
        return cls(leaves)

    @property
    def raw(self) -> bytes:
        return "".join(f"{leaf}\n" for leaf in self.leaves).encode()

    def tree(self) -> MerkleTree:
        return MerkleTree([str(leaf).encode() for leaf in self.leaves])


class MerkleTree:
    """RFC 6962 section 2.1 over `leaves`, all levels kept: a proof costs one look-up per level."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        if not leaves:
            raise Refusal("E_LOCK_INVALID", "a lock has at least one line")
        levels = [[hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]]
        while len(levels[-1]) > 1:
            level = levels[-1]
            above = [_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
            # An odd node rises unchanged: the left-filled tree of RFC 6962 seen from below.
            if len(level) % 2:
                above.append(level[-1])
            levels.append(above)
        self._levels = levels

    @property
    def root(self) -> str:
        return "sha256:" + self._levels[-1][0].hex()

    @property
    def size(self) -> int:
        return len(self._levels[0])

    def proof(self, index: int) -> Proof:
        """Return the inclusion proof of leaf `index` (RFC 6962 section 2.1.1)."""
        hashes, at = [], index
        for level in self._levels[:-1]:
            sibling = at ^ 1
            if sibling < len(level):
                hashes.append(level[sibling].hex())
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
