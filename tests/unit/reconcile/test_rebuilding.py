"""An order that only a device remembers is named again by its digest, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fwctl.reconcile.rebuilding import Begun, rebuilt
from fwctl_agent.protocol.messages import AttemptMark, DeviceDocument
from tests.contract.samples import DOCUMENTS

MANDATE, OTHER, RELEASE, FOREIGN = (f"sha256:{letter * 64}" for letter in "abcd")
PLAIN: DeviceDocument = replace(DOCUMENTS["factory"], highest_orders=(), outcomes=())
BEGUN = Begun(PLAIN.id, MANDATE, RELEASE, 2)


def marked(mandate: str = MANDATE, verb: str = "install", attempt: int = 2, device: str = PLAIN.id) -> DeviceDocument:
    return replace(PLAIN, id=device, marks=(AttemptMark(OTHER, "install", 1), AttemptMark(mandate, verb, attempt)))


def test_r16_marks_and_a_release_of_the_commit_give_the_order_that_runs() -> None:
    assert rebuilt(marked(), BEGUN.id, [FOREIGN, RELEASE]) == BEGUN


@pytest.mark.parametrize(
    "document",
    [
        marked(mandate=FOREIGN),
        marked(verb="cancel"),
        marked(attempt=3),
        marked(device="somebody-else"),
        replace(PLAIN, marks=()),
        replace(marked(), highest_orders=({"payload": "?"},), marks=()),
    ],
)
def test_r16_what_does_not_give_the_id_names_nothing(document: DeviceDocument) -> None:
    assert rebuilt(document, BEGUN.id, [RELEASE]) is None


def test_r16_a_release_that_nobody_knows_names_nothing() -> None:
    assert rebuilt(marked(), BEGUN.id, [FOREIGN]) is None
