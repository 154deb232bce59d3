"""Hostile manifests in a commit: `validate` names the place and the code, a pass sends nothing, nothing is executed."""

from __future__ import annotations

import json

import pytest

from tests.attacks.realm import Realm

pytestmark = pytest.mark.e2e

PATH = "rollouts/dev/evil.yaml"
HEAD = "apiVersion: fwctl/v1\nkind: Rollout\nmetadata: {name: evil}\n"
GOOD = HEAD + 'spec:\n  firmware: {model: sensor-v1, version: "2.5.0"}\n  targets: {devices: [device-002]}\n'
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + at)}: &{chr(98 + at)} [{','.join([f'*{chr(97 + at)}'] * 9)}]\n" for at in range(7)
)


def _refused(realm: Realm, text: bytes, codes: set[str]) -> None:
    """Ask both doors about one file of a commit."""
    (realm.world.repo / PATH).write_bytes(text)
    realm.commit()
    before = realm.standing_still()
    try:
        ran = realm.world.run("validate", "--format", "json")
        assert ran.code == 1, ran.text
        found = [one for one in json.loads(ran.out)["diagnostics"] if one["path"] == PATH]
        assert {one["code"] for one in found} & codes, ran.out
        shown = realm.world.run("validate")
        assert f"{PATH}:" in shown.out + shown.err, "with its line and column"
        ran = realm.world.once(duration=5)
        assert (ran.code, any(code in ran.err for code in codes)) == (3, True), ran.text
        assert realm.standing_still() == before
    finally:
        realm.restore()


ALIASES = {"bomb": BOMB, "recursive": "a: &a [*a]\n", "anchor": GOOD.replace("[device-002]", "&x [device-002]")}


@pytest.mark.parametrize("text", ALIASES.values(), ids=ALIASES)
def test_a33_cli_reconciler_aliases(realm: Realm, text: str) -> None:
    _refused(realm, text.encode(), {"E_YAML_ALIAS"})


KEYS = {
    "twice": (GOOD.replace('version: "2.5.0"', 'version: "2.5.0", version: "2.6.0"').encode(), {"E_YAML_DUPKEY"}),
    "merge": (GOOD.encode() + b"  <<: {a: b}\n", {"E_YAML_MERGE", "E_YAML_ALIAS", "E_YAML_DUPKEY", "E_SCHEMA"}),
    "nul": (GOOD.encode() + b"\0", {"E_YAML_ENCODING"}),
    "not-utf-8": (GOOD.encode() + b"# \xff\n", {"E_YAML_ENCODING"}),
}


@pytest.mark.parametrize(("text", "codes"), KEYS.values(), ids=KEYS)
def test_a35_cli_reconciler_what_two_readers_read_differently(realm: Realm, text: bytes, codes: set[str]) -> None:
    _refused(realm, text, codes)


@pytest.mark.parametrize("scalar", ["1.10", "010", "1:30", "on", "2024-01-01", "1_000", "~"])
def test_a36_cli_reconciler_text_that_yaml_takes_for_something_else(realm: Realm, scalar: str) -> None:
    _refused(realm, GOOD.replace('"2.5.0"', scalar).encode(), {"E_TYPE", "E_SCHEMA"})


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!fwctl", "!!binary"])
def test_a37_cli_reconciler_tags_are_not_executed(realm: Realm, tag: str) -> None:
    sentinel = realm.world.folder / "pwned"
    text = GOOD.replace("[device-002]", f"{tag} ['touch {sentinel}']")
    _refused(realm, text.encode(), {"E_YAML_TAG"})
    assert not sentinel.exists()


FIELDS = {
    "typo": GOOD + "  canarry: {}\n",
    "true-for-a-number": GOOD + "  retry: {maxAttempts: true}\n",
    "text-for-a-number": GOOD + '  retry: {maxAttempts: "5"}\n',
    "5000-digits": GOOD + f"  retry: {{maxAttempts: {'9' * 5000}}}\n",
    "foreign-digits": GOOD.replace("2.5.0", "٢.٥.٠"),
    "line-end-in-a-version": GOOD.replace('"2.5.0"', '"2.5.0\\n"'),
}


@pytest.mark.parametrize("text", FIELDS.values(), ids=FIELDS)
def test_a38_cli_reconciler_fields_that_are_none(realm: Realm, text: str) -> None:
    _refused(realm, text.encode(), {"E_SCHEMA", "E_TYPE"})
