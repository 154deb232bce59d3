"""The short way to read YAML inventories gives what reading the whole file gives, or nothing at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwctl.manifests import DeviceInventory, InventoryTable
from fwctl.manifests.inventory import tabulate
from fwctl.manifests.strict_yaml import LARGE, read
from fwctl.manifests.yaml_rows import tabulate_text

HEAD = "apiVersion: fwctl/v1\nkind: DeviceInventory\nspec:\n  defaults: {model: m, labels: {x: w}}\n  devices:\n"
ODD_HEADS = [
    HEAD.replace("  devices:", "  devices: # all"),
    HEAD.replace("  devices:", "    devices:"),
    HEAD.replace("spec:\n", "metadata:\n  description: |\n    a\n  devices:\n    - {id: a}\nspec:\n"),
    "apiVersion: fwctl/v1\nkind: DeviceInventory\nspec: {devices: null}\nmetadata:\n  description: |\n   devices:\n",
    'apiVersion: fwctl/v1\nkind: DeviceInventory\nmetadata: {description: "\n  devices:\n',
    HEAD.replace("v1", "v2"),
    HEAD + "    - {id: first, site: [}\n",
    HEAD.replace("  devices:\n", "  other:\n  devices:\n"),
]
LINES = [
    "    - {id: a, site: s}", "    - {id: b, site: s}", "    - {id: c, labels: {k: v}, address: 'h:1'}", "    - id: d",
    "      site: s", "      labels:", "        k: v", "      region: |-", "        eu", '      site: "s',
    '    - {id: e, site: "', '    - {id: f, site: s"}', "    - {id: no}", "    - {id: 1e5}", "    - {id: null}",
    "    - {id: 0123}", "    - {id: -a}", "    - {id: a-}", "    - {id: g} # last", "    # between", "", "  # out",
    "metadata: {name: n}", "---", "...", "    - {id: h, id: i}", "    - {id: j}}", "    - {id: k,", "       site: s}",
    "    - {id: l, site: &x s}", "    - {id: m, site: *x}", "    - id: n, site: s", "    - id: o,", "    -  {id: p}",
    "   - {id: q}", "     - {id: r}", "      - {id: s}", "    - !x {id: t}", "    - {id: u, env: on}",
    "    - {id: w, model: null}", "    - {id: x, labels: {model: z}}", "\t- {id: y}", "    - {id: z, colour: red}",
    "      more", "    - id: aa bb", "      : x", "  region: eu",
]  # fmt: skip


def in_full(data: bytes) -> InventoryTable | None:
    document = read(data, LARGE)
    if not document.complete or document.findings:
        return None
    try:
        return tabulate(DeviceInventory.model_validate(document.value))
    except ValueError:
        return None


def agree(text: str) -> bool:
    data = text.encode()
    short = tabulate_text(data)
    assert short is None or short == in_full(data)
    return short is not None


@settings(max_examples=600, deadline=2000)
@given(
    st.sampled_from([HEAD] * 8 + ODD_HEADS), st.lists(st.sampled_from(LINES), max_size=6), st.sampled_from(["", "\n"])
)
def test_never_anything_else(head: str, lines: list[str], end: str) -> None:
    agree(head + "\n".join(lines) + end)


@settings(max_examples=300, deadline=2000)
@given(st.data())
def test_never_anything_else_after_a_change(data: st.DataObject) -> None:
    text = (
        HEAD
        + "    - {id: a, site: s}\n    - id: b\n      site: s\n      labels:\n        k: v\n    - {id: c, site: s}\n"
    )
    start = data.draw(st.integers(0, len(text)))
    end = min(len(text), start + data.draw(st.integers(0, 6)))
    agree(text[:start] + data.draw(st.text(alphabet="- {}:,\n'\"#|>&*ab1", max_size=4)) + text[end:])


@pytest.mark.parametrize(("first", "second"), [(first, second) for first in LINES for second in LINES[:7]])
def test_each_line_before_a_common_one(first: str, second: str) -> None:
    agree(f"{HEAD}    - {{id: zero}}\n{first}\n{second}\n    - {{id: last}}\n")


@pytest.mark.parametrize("head", ODD_HEADS)
def test_heads_that_are_none(head: str) -> None:
    agree(f"{head}    - {{id: a}}\n    - {{id: b}}\n")


def test_common_forms_go_the_short_way() -> None:
    flow = "".join(f"    - {{id: dev-{n}, site: s-{n % 3}}}\n" for n in range(2000))
    block = "".join(f"    - id: dev-{n}\n      labels:\n        ring: r{n % 3}\n" for n in range(2000))
    assert agree(HEAD + flow)
    assert agree(HEAD + block)


def test_devices_that_all_differ_go_the_long_way() -> None:
    assert not agree(HEAD + "".join(f"    - {{id: dev-{n}, site: s-{n}}}\n" for n in range(2000)))


def test_the_reference_fleet() -> None:
    for path in (Path(__file__).parents[3] / "manifests" / "devices").glob("*.yaml"):
        agree(path.read_text())
