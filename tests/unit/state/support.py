"""Small builders shared by the ledger's tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fwctl.state import DeviceSeen, OrderIntended, OutcomeReceived, RolloutMoved, RolloutState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TTL = timedelta(minutes=5)
ROLLOUT = "prod/sensor"


def later(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


def order_id(number: int) -> str:
    return f"sha256:{number:064x}"


def rollout(state: RolloutState = RolloutState.PROGRESSING, *, mandate: str = "m1", at: datetime = NOW) -> RolloutMoved:
    return RolloutMoved(at=at, rollout=ROLLOUT, mandate=mandate, commit="c1", state=state, reason=f"because {state}")


def intended(number: int, *, device: str = "device-1", mandate: str = "m1", attempt: int = 1) -> OrderIntended:
    return OrderIntended(
        at=NOW,
        order=order_id(number),
        device=device,
        rollout=ROLLOUT,
        mandate=mandate,
        verb="install",
        release="r2",
        attempt=attempt,
        stage=1,
        wave="wave-1",
        refers_to="",
        body={"payload": "e30=", "signatures": []},
        due_at=NOW,
        reason="it is a target",
    )


def seen(
    device: str = "device-1", *, image: str = "i1", state: str = "idle", at: datetime = NOW, counter: int = 1
) -> DeviceSeen:
    return DeviceSeen(
        at=at,
        device=device,
        running_release="r1",
        running_image=image,
        running_version="1.0.0",
        running_mandate="",
        state=state,
        document={"id": device, "vitals": {"temperature": 40}},
        counter=counter,
    )


def outcome(number: int, *, device: str = "device-1", counter: int = 1, result: str = "confirmed") -> OutcomeReceived:
    return OutcomeReceived(
        at=NOW,
        order=order_id(number),
        device=device,
        mandate="m1",
        result=result,
        failure_class="",
        code="",
        running_image="i2",
        counter=counter,
        envelope={"payload": "e30="},
        certificate="-----BEGIN CERTIFICATE-----\n",
    )
