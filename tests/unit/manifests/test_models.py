"""What the closed models refuse, each finding at its place with a remedy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fwctl.manifests import Diagnostic, RolloutSpec, load, plain, resolve_spec

Edit = Callable[..., tuple[Diagnostic, ...]]
TARGETS = "  targets: {groups: [all]}\n"


def spec(lines: str) -> tuple[str, str]:
    return (TARGETS, TARGETS + lines)


ROLLOUT = {
    "typo": (spec("  strateggy: {type: Direct}\n"), "E_SCHEMA", 7, 3, "Did you mean `strategy`?"),
    "typo inside a union": (spec("  strategy: {type: Direct, sok: 1m}\n"), "E_SCHEMA", 7, 28, "Did you mean `soak`?"),
    "wrong case": (spec("  lateJoinerS: {max: 1}\n"), "E_SCHEMA", 7, 3, "Did you mean `lateJoiners`?"),
    "snake case": (spec("  late_joiners: {max: 1}\n"), "E_SCHEMA", 7, 3, "Did you mean `lateJoiners`?"),
    "unknown strategy": (spec("  strategy: {type: Canari}\n"), "E_SCHEMA", 7, 20, "Did you mean `Canary`?"),
    "no type": (spec("  strategy: {soak: 1m}\n"), "E_SCHEMA", 7, 3, "Add `type:`."),
    "type is a list": (spec("  strategy: {type: [Direct]}\n"), "E_SCHEMA", 7, 20, ""),
    "duration without unit": (spec("  watch: 30\n"), "E_SCHEMA", 7, 10, "15m"),
    "duration with a fraction": (spec("  watch: 1.5h\n"), "E_SCHEMA", 7, 10, "15m"),
    "duration with line feed": (spec('  watch: "1h\\n"\n'), "E_SCHEMA", 7, 10, "15m"),
    "size": (spec("  limits: {bytesPerMinutePerSite: 50MB}\n"), "E_SCHEMA", 7, 35, "50MiB"),
    "share": (spec("  strategy: {type: Rolling, batchSize: 0%}\n"), "E_SCHEMA", 7, 40, ""),
    "share above all": (spec("  strategy: {type: Rolling, batchSize: 101%}\n"), "E_SCHEMA", 7, 40, ""),
    "share as true": (spec("  strategy: {type: Rolling, batchSize: true}\n"), "E_SCHEMA", 7, 40, ""),
    "falling": (spec("  strategy: {type: Canary, increments: [50, 30, 100]}\n"), "E_SCHEMA", 7, 40, ""),
    "never all": (spec("  strategy: {type: Canary, increments: [50]}\n"), "E_SCHEMA", 7, 40, ""),
    "cron": (spec("  window: {allow: [{cron: '61 * * * *', duration: 1h}]}\n"), "E_SCHEMA", 7, 27, ""),
    "zone": (spec("  window: {allow: [{cron: '1 * * * *', duration: 1h, timeZone: ../x}]}\n"), "E_SCHEMA", 7, 64, ""),
    "empty window": (spec("  window: {}\n"), "E_SCHEMA", 7, 11, ""),
    "nothing": (spec("  retry:\n    backoff:\n      initial:\n"), "E_SCHEMA", 9, 7, "15m"),
    "automatic but forbidden": (spec("  rollback: {allowed: false}\n"), "E_SCHEMA", 7, 13, ""),
    "values of Exists": (
        (TARGETS, "  targets: {selector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}\n"),
        "E_SCHEMA", 6, 78, "",
    ),
    "In without values": (
        (TARGETS, "  targets: {selector: {matchExpressions: [{key: a, operator: In}]}}\n"), "E_SCHEMA", 6, 43, "",
    ),
    "empty selector": ((TARGETS, "  targets: {selector: {}}\n"), "E_SCHEMA", 6, 23, "all: true"),
    "no targets said": ((TARGETS, "  targets: {}\n"), "E_SCHEMA", 6, 12, ""),
    "all and some": ((TARGETS, "  targets: {all: true, groups: [all]}\n"), "E_SCHEMA", 6, 18, ""),
    "missing": (("  firmware: {model: sensor-v1, version: '1.0'}\n", ""), "E_SCHEMA", 4, 1, "Add `firmware:`."),
    "text for a list": ((TARGETS, "  targets: {groups: all}\n"), "E_SCHEMA", 6, 21, "Write a list."),
    "mapping for a list": ((TARGETS, "  targets: {groups: {a: b}}\n"), "E_SCHEMA", 6, 21, "Write a list."),
    "upper case id": ((TARGETS, "  targets: {devices: [Dev-1]}\n"), "E_SCHEMA", 6, 23, "sensor-v1"),
    "id with line feed": ((TARGETS, '  targets: {devices: ["dev-1\\n"]}\n'), "E_SCHEMA", 6, 23, "sensor-v1"),
    "long id": ((TARGETS, f"  targets: {{devices: [{'a' * 64}]}}\n"), "E_SCHEMA", 6, 23, "sensor-v1"),
    "option as an id": ((TARGETS, "  targets: {devices: [--output=x]}\n"), "E_SCHEMA", 6, 23, "sensor-v1"),
    "wrong kind": (("kind: Rollout", "kind: Firmware"), "E_KIND", 2, 7, ""),
    "kind with a typo": (("kind: Rollout", "kind: Rolout"), "E_KIND", 2, 7, "Did you mean `Rollout`?"),
    "no kind": (("kind: Rollout\n", ""), "E_SCHEMA", 1, 1, "Add `kind:`."),
    "other version": (("fwctl/v1", "fwctl/v2"), "E_API_VERSION", 1, 13, "apiVersion: fwctl/v1"),
    "name is not the file's": (("name: one", "name: two"), "E_PATH", 3, 18, ""),
}  # fmt: skip


@pytest.mark.parametrize(("change", "code", "line", "column", "remedy"), ROLLOUT.values(), ids=ROLLOUT.keys())
def test_rollout(edit: Edit, change: tuple[str, str], code: str, line: int, column: int, remedy: str) -> None:
    found = edit("rollouts/dev/one.yaml", change)
    assert [(d.code, d.line, d.column) for d in found] == [(code, line, column)]
    assert found[0].remedy
    assert remedy in found[0].remedy


FIRMWARE = "firmware/sensor-v1/1.0.yaml"
FLEET = "fleet.yaml"
DEVICES = "devices/a.yaml"
OTHERS = {
    "digest in upper case": (FIRMWARE, ("0" * 64, "A" * 64), "E_SCHEMA"),
    "digest with line feed": (FIRMWARE, ("'sha256:" + "0" * 64 + "'", '"sha256:' + "0" * 64 + '\\n"'), "E_SCHEMA"),
    "short digest": (FIRMWARE, ("0" * 64, "0" * 63), "E_SCHEMA"),
    "no bytes": (FIRMWARE, ("length: 5", "length: 0"), "E_SCHEMA"),
    "version of another file": (FIRMWARE, ("'1.0'", "'1.1'"), "E_PATH"),
    "model of another folder": (FIRMWARE, ("model: sensor-v1", "model: sensor-v2"), "E_PATH"),
    "no hardware": (FIRMWARE, ("[rev-a]", "[]"), "E_SCHEMA"),
    "hardware twice": (FIRMWARE, ("[rev-a]", "[rev-a, rev-a]"), "E_SCHEMA"),
    "impossible range": (FIRMWARE, ("  image", "  requiresFrom: {atLeast: '2.0', below: '2'}\n  image"), "E_SCHEMA"),
    "empty range": (FIRMWARE, ("  image", "  requiresFrom: {}\n  image"), "E_SCHEMA"),
    "user in address": (FIRMWARE, ("length: 5", "length: 5, uri: 'https://a@b/c'"), "E_SCHEMA"),
    "file address": (FIRMWARE, ("length: 5", "length: 5, uri: 'file:///etc/passwd'"), "E_SCHEMA"),
    "repo id": (FLEET, ("acme", "acme.fwctl"), "E_SCHEMA"),
    "template without port": (FLEET, ("{id}.example:8443", "{id}.example"), "E_SCHEMA"),
    "template with port 99999": (FLEET, ("8443", "99999"), "E_SCHEMA"),
    "template with unknown part": (FLEET, ("{id}.", "{name}."), "E_SCHEMA"),
    "storage climbs": (FLEET, ("repoId", "storage: {type: file, path: ../x}, repoId"), "E_SCHEMA"),
    "storage unknown": (FLEET, ("repoId", "storage: {type: s3, path: x}, repoId"), "E_SCHEMA"),
    "pull from a folder": (FLEET, ("repoId", "delivery: pull, repoId"), "E_SCHEMA"),
    "delivery unknown": (FLEET, ("repoId", "delivery: carrier-pigeon, repoId"), "E_SCHEMA"),
    "storage without url": (FLEET, ("repoId", "storage: {type: https}, repoId"), "E_SCHEMA"),
    "storage by http": (FLEET, ("repoId", "storage: {type: https, url: 'http://a.example/fw'}, repoId"), "E_SCHEMA"),
    "storage with user": (FLEET, ("repoId", "storage: {type: https, url: 'https://u@a.ex'}, repoId"), "E_SCHEMA"),
    "storage with query": (FLEET, ("repoId", "storage: {type: https, url: 'https://a.ex/?s=1'}, repoId"), "E_SCHEMA"),
    "storage with slash": (FLEET, ("repoId", "storage: {type: https, url: 'https://a.ex/fw/'}, repoId"), "E_SCHEMA"),
    "storage in capitals": (FLEET, ("repoId", "storage: {type: https, url: 'https://A.example'}, repoId"), "E_SCHEMA"),
    "storage with dots": (FLEET, ("repoId", "storage: {type: https, url: 'https://a.ex/../x'}, repoId"), "E_SCHEMA"),
    "confirmed too early": (FLEET, ("repoId", "confirmWithin: 9m, repoId"), "E_SCHEMA"),
    "pass never": (FLEET, ("repoId", "passInterval: 0s, repoId"), "E_SCHEMA"),
    "label shadows": (DEVICES, ("{ring: a}", "{env: prod}"), "E_SCHEMA"),
    "label key": (DEVICES, ("{ring: a}", "{-ring: a}"), "E_SCHEMA"),
    "label is a number": (DEVICES, ("{ring: a}", "{ring: 1.0}"), "E_TYPE"),
    "no env": (DEVICES, (", env: dev}", "}"), "E_SCHEMA"),
    "address without port": (DEVICES, ("region: eu", "address: host"), "E_SCHEMA"),
    "address with user": (DEVICES, ("region: eu", "address: 'a@host:1'"), "E_SCHEMA"),
    "group without members": ("groups/all.yaml", ("{selector: {matchLabels: {env: dev}}}", "{}"), "E_SCHEMA"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "change", "code"), OTHERS.values(), ids=OTHERS.keys())
def test_other_kinds(edit: Edit, path: str, change: tuple[str, str], code: str) -> None:
    found = [d for d in edit(path, change) if d.path == path]
    assert {d.code for d in found} == {code}
    assert all(d.line > 0 and d.remedy for d in found)


RICH = """
  strategy: {type: Canary, initialPercentage: 10, increments: [30, 50, 100], soak: 15m, approvalBefore: [wave-4]}
  preconditions: {facts: [{key: battery, operator: GreaterThan, value: 30}], readiness: {maxDefer: 2d}}
  gates:
    maxFailureRate: {percent: 2, minSample: 20}
    minReached: {percent: 90}
    health: {probes: default, limits: {temperature: {max: 80}}, compareWithControl: {metrics: [crash_rate], confidence: 0.99}}
    timeoutPerDevice: 10m
  rollback: {automatic: true, scope: rollout, deadline: 2m}
  retry: {maxAttempts: 3, backoff: {initial: 30s, factor: 2, max: 10m, jitter: 0.2}}
  limits: {maxConcurrent: 500, maxPerMinute: 5000, disruption: {groupBy: [site], maxUnavailable: 1}, bytesPerMinutePerSite: 50MiB}
  window: {allow: [{cron: "0 1 * * *", duration: 4h, timeZone: Europe/Berlin}]}
  lateJoiners: {max: 50}
"""  # noqa: E501


def rollout(clean: dict[str, bytes], lines: str) -> tuple[RolloutSpec, RolloutSpec]:
    clean["rollouts/dev/one.yaml"] += lines.lstrip("\n").encode()
    loaded = load(clean)
    assert loaded.diagnostics == ()
    assert loaded.repo is not None
    spec = loaded.repo.rollouts["dev/one"].model.spec
    return spec, resolve_spec(loaded.repo.fleet.spec, spec)


def test_the_rich_rollout_of_the_design_is_read(clean: dict[str, bytes]) -> None:
    spec, resolved = rollout(clean, RICH)
    assert spec.strategy.type == "Canary"
    assert spec.strategy.soak == 900
    assert spec.limits is not None
    assert spec.limits.bytes_per_minute_per_site == 50 * 2**20
    assert resolved.watch == 900
    assert plain(resolved)["gates"]["health"]["compareWithControl"] == {"metrics": ["crash_rate"], "confidence": "0.99"}


@pytest.mark.parametrize(
    "strategy",
    [
        "{type: Direct}",
        "{type: Rolling, batchSize: 5%, maxUnavailable: 3}",
        "{type: Regional, regions: [{name: eu, strategy: {type: Direct}}, {name: us}], order: Parallel}",
        "{type: BlueGreen, switch: Manual, retain: 1h}",
    ],
)
def test_every_strategy_is_read(clean: dict[str, bytes], strategy: str) -> None:
    spec, _ = rollout(clean, f"  strategy: {strategy}\n")
    assert spec.strategy.type in strategy


def test_silence_means_the_defaults_of_the_fleet(clean: dict[str, bytes]) -> None:
    clean["fleet.yaml"] = clean["fleet.yaml"].replace(
        b"repoId", b"defaults: {timeoutPerDevice: 7m, retry: {maxAttempts: 9}}, repoId"
    )
    spec, resolved = rollout(clean, "")
    assert (spec.strategy.type, spec.retry, spec.gates.timeout_per_device) == ("Canary", None, None)
    assert resolved.gates.timeout_per_device == 420
    assert resolved.retry is not None
    assert resolved.retry.max_attempts == 9


def test_resolved_values_hold_no_float(clean: dict[str, bytes]) -> None:
    def floats(value: object) -> bool:
        children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return isinstance(value, float) or any(floats(child) for child in children)

    _, resolved = rollout(clean, RICH)
    assert not floats(plain(resolved))
