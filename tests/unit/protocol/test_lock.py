"""The lock file and the proofs that a device stands in it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol.lock import Leaf, Lock, MerkleTree, Proof, verify_inclusion

ONE, TWO = ("sha256:" + digit * 64 for digit in "12")
LEAF = Leaf("device-1", 1, (ONE,))
# The inputs and tree heads of the reference tests of Certificate Transparency (RFC 6962).
CT_LEAVES = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
CT_ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_of_certificate_transparency(size: int) -> None:
    assert MerkleTree([bytes.fromhex(leaf) for leaf in CT_LEAVES[:size]]).root == "sha256:" + CT_ROOTS[size - 1]


def test_proofs_of_certificate_transparency() -> None:
    tree = MerkleTree([bytes.fromhex(leaf) for leaf in CT_LEAVES[:7]])
    heads = [hashlib.sha256(b"\0" + bytes.fromhex(leaf)).digest() for leaf in CT_LEAVES[:7]]

    def node(left: bytes, right: bytes) -> bytes:
        return hashlib.sha256(b"\1" + left + right).digest()

    # RFC 6962 section 2.1.3: with seven leaves, d0 is proved by b, h, l and d6 by i, k
    g, h, i = (node(heads[at], heads[at + 1]) for at in (0, 2, 4))
    assert tree.proof(0).hashes == tuple(one.hex() for one in (heads[1], h, node(i, heads[6])))
    assert tree.proof(6).hashes == tuple(one.hex() for one in (i, node(g, h)))


@given(st.integers(1, 70), st.data())
def test_every_leaf_is_proved_and_no_mutation_is(size: int, data: st.DataObject) -> None:
    leaves = [f"leaf {number}" for number in range(size)]
    tree = MerkleTree([leaf.encode() for leaf in leaves])
    index = data.draw(st.integers(0, size - 1))
    proof = tree.proof(index)
    verify_inclusion(leaves[index], proof, root=tree.root, size=size)
    bad: list[tuple[str, Proof, str, int]] = [
        (leaves[index] + " ", proof, tree.root, size),
        (leaves[index], proof, "sha256:" + "0" * 64, size),
        (leaves[index], proof, tree.root[7:], size),
        (leaves[index], replace(proof, hashes=(*proof.hashes, "0" * 64)), tree.root, size),
        (leaves[index], replace(proof, index=-1), tree.root, size),
        (leaves[index], replace(proof, index=size), tree.root, size),
        (leaves[index], replace(proof, index=2**53), tree.root, size),
    ]
    if size > 1:
        other = data.draw(st.integers(0, size - 1).filter(lambda at: at != index))
        bad += [
            (leaves[other], proof, tree.root, size),
            (leaves[index], replace(proof, index=other), tree.root, size),
            (leaves[index], replace(proof, hashes=proof.hashes[:-1]), tree.root, size),
            (leaves[index], replace(proof, hashes=proof.hashes[1:]), tree.root, size),
            (leaves[index], proof, tree.root, size * 4),
        ]
        at = data.draw(st.integers(0, len(proof.hashes) - 1))
        flipped = f"{int(proof.hashes[at], 16) ^ (1 << data.draw(st.integers(0, 255))):064x}"
        bad.append(
            (
                leaves[index],
                replace(proof, hashes=(*proof.hashes[:at], flipped, *proof.hashes[at + 1 :])),
                tree.root,
                size,
            )
        )
    for leaf, wrong, root, claimed in bad:
        with pytest.raises(Refusal, match=r"^E_NOT_APPROVED: "):
            verify_inclusion(leaf, wrong, root=root, size=claimed)


def test_an_inner_node_is_no_leaf() -> None:
    tree = MerkleTree([b"a", b"b", b"c", b"d"])
    inner = hashlib.sha256(b"\0a").digest() + hashlib.sha256(b"\0b").digest()
    above = tree.proof(0).hashes[1]
    with pytest.raises(Refusal, match=r"^E_NOT_APPROVED: "):
        verify_inclusion(inner.decode("latin-1"), Proof(0, (above,)), root=tree.root, size=2)


def test_a_proof_for_a_hundred_thousand_devices_is_544_bytes() -> None:
    tree = MerkleTree([str(number).encode() for number in range(100_000)])
    assert len(tree.proof(77).hashes) * 32 == 544


def test_lock_is_sorted_bytewise_and_read_back() -> None:
    leaves = [Leaf(name, 1, (ONE, TWO)) for name in ("b", "a-1", "a", "a1")]
    lock = Lock.of(leaves)
    assert Lock.of(reversed(leaves)) == lock == Lock.parse(lock.raw)
    assert lock.raw.split(b"\n")[:-1] == sorted(lock.raw.split(b"\n")[:-1])


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "\n",
        f"{LEAF}",
        f"{LEAF}\r\n",
        f"{LEAF}\n\n",
        f"\n{LEAF}\n",
        f"{LEAF}\n{LEAF}\n",
        f"b 1 {ONE}\na 1 {ONE}\n",
        f"a 1 {ONE}\na 2 {ONE}\n",
        f"a 0 {ONE}\n",
        f"a 01 {ONE}\n",
        f"a 1000 {ONE}\n",
        f"a -1 {ONE}\n",
        f"a 1  {ONE}\n",
        f"a 1 {ONE},\n",
        f"a 1 {ONE} \n",
        "a 1 \n",
        f"A 1 {ONE}\n",
        f"a 1 {ONE.upper()}\n",
        f"a 1 {','.join([ONE] * 2)}\n",
        f"a 1 {','.join('sha256:' + format(n, '064x') for n in range(17))}\n",
        f"ä 1 {ONE}\n",
        f"a ١ {ONE}\n",
        f"\ufeffa 1 {ONE}\n",
        f"a\x0b1 {ONE}\n",
        f"a 1 {ONE}\x0cb 1 {ONE}\n",
    ],
)
def test_a25_a_lock_has_one_form(raw: str) -> None:
    with pytest.raises(Refusal, match=r"^E_LOCK_INVALID: "):
        Lock.parse(raw.encode())


def test_an_empty_lock_has_no_tree() -> None:
    with pytest.raises(Refusal, match=r"^E_LOCK_INVALID: "):
        Lock.of([]).tree()


@given(st.binary(max_size=100))
def test_junk_is_refused(raw: bytes) -> None:
    with pytest.raises(Refusal, match=r"^E_LOCK_INVALID: "):
        Lock.parse(raw)


_LINE = st.builds(
    lambda device, stage, chain: f"{device} {stage} {','.join(chain)}",
    st.from_regex(r"[a-z0-9-]{1,4}", fullmatch=True),
    st.sampled_from(["1", "2", "999", "0", "01"]),
    st.lists(st.sampled_from([ONE, TWO, "sha256:1"]), min_size=1, max_size=2),
)


@given(st.lists(_LINE, min_size=1, max_size=4))
def test_a_lock_is_read_exactly_when_each_line_is_a_leaf(lines: list[str]) -> None:
    """Lines are judged together where they are alike; the verdict and its words are those of single lines."""

    def one_by_one() -> tuple[Leaf, ...] | str:
        try:
            return tuple(Leaf.parse(line) for line in lines)
        except Refusal as error:
            return str(error)

    def together() -> tuple[Leaf, ...] | str:
        try:
            return Lock.parse("".join(f"{line}\n" for line in lines).encode()).leaves
        except Refusal as error:
            return str(error)

    expected, got = one_by_one(), together()
    if isinstance(expected, tuple) and isinstance(got, str):
        assert sorted(set(lines)) != lines or len({leaf.device for leaf in expected}) != len(lines)
    else:
        assert got == expected


def test_devices_stages_and_chains_stand_beside_each_other() -> None:
    lock = Lock.of([Leaf("b", 12, (ONE,)), Leaf("a", 3, (ONE, TWO))])
    assert list(zip(lock.devices, lock.stages(), strict=True)) == [("a", 3), ("b", 12)]
    assert lock.chains == {(ONE,), (ONE, TWO)}
