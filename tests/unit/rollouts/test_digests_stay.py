"""What was approved before an upgrade stays approved: plan and mandate of manifests without new fields keep their ids.

The digests were made by the release before strategies beyond Canary and Rolling came (commit 68d72e8).
"""

from __future__ import annotations

import pytest

from fwctl.rollouts.compile import compile_rollout, mandate_of
from tests.unit.rollouts.fleets import KEY, files, repo_of

DEVICES = [f"d{number:02}" for number in range(12)]
MANIFESTS = (
    ("strategy: {type: Direct}",),
    ("strategy: {type: Direct, soak: 2m}", "round: 2", "rollback: {automatic: false, maxConcurrent: 3}"),
    ("strategy: {type: Canary}", "gates: {maxFailureRate: {percent: 2, minSample: 3}, timeoutPerDevice: 5m}"),
    (
        "strategy: {type: Canary, initialPercentage: 10, increments: [30, 60, 100], soak: 5m, "
        "approvalBefore: [wave-2]}",
        "limits: {maxConcurrent: 3, maxPerMinute: 12}",
    ),
    ("strategy: {type: Rolling, batchSize: 3, maxUnavailable: 2, soak: 20s}", "watch: 1m"),
    (
        "strategy: {type: Rolling, batchSize: 20%}",
        'window: {allow: [{cron: "0 2 * * *", duration: 1h, timeZone: Europe/Berlin}]}',
        "limits: {disruption: {groupBy: [site], maxUnavailable: 1}, bytesPerMinutePerSite: 24MiB}",
    ),
)
BEFORE: tuple[tuple[str, str], ...] = (
    (
        "sha256:c11bba31cba1db4e610f9b5e7106decd1956c847af8c250bc4b3fe3acc845849",
        "sha256:a6191acf8aef546746b4752de4b2d4ba04db9fad8fe41c6162b503756fe88b4a",
    ),
    (
        "sha256:d0be41a5122b750c5bcf27d5c48904bd754d12355ecdff4f8eac504520f0c57b",
        "sha256:d7a3fa97e9163fae279b3c899111afa6fc63adddc05f95606c773aeaa27adb07",
    ),
    (
        "sha256:d7fe5bf7c9a939e9327d2ddac2e316a9851dee5bf98d17b27f63a03d70834d00",
        "sha256:7f33be0038b2624a4fe8350fa530b0a29be014c6472c6593e90398d4665260b6",
    ),
    (
        "sha256:0b83f49174a957865b7f0a6044d4261cfffc1be3a4293ea71ce187a159729353",
        "sha256:c8bb457ec0c2abfee3c8bf80c3baaa9f390bd30ee26e98feef4ec8fc0ef24014",
    ),
    (
        "sha256:8af68b6e9a1d5f97bd36154439ec6f3cad8f913dd46faab9dc738bee90fe3073",
        "sha256:968ea0707d9a2bae8ce1faa3dad2265431971d9c01e42e826fdb7b7f044b4394",
    ),
    (
        "sha256:1754087978de296f5c1358a1fcdde6de02ca15f3d0c6b9bd1f767ce44af5e38c",
        "sha256:3326037b1138a3198327a3fcf2c569a5cdd1f6532b73abe918c797b1c420660c",
    ),
)


@pytest.mark.parametrize(("spec", "before"), list(zip(MANIFESTS, BEFORE, strict=True)))
def test_an_upgrade_makes_no_approval_worthless(spec: tuple[str, ...], before: tuple[str, str]) -> None:
    sources = files(DEVICES, spec)
    repo = repo_of(sources)
    plan = compile_rollout(repo, repo.rollouts[KEY])
    mandate = mandate_of(plan, manifest=sources["rollouts/dev/sensors.yaml"], lock=plan.lock())
    assert (plan.digest, mandate.id) == before
