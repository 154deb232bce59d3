"""The JSON Schemas say what the models accept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fwctl.manifests import schemas
from fwctl.manifests.fields import fields_of, models_in
from fwctl.manifests.models import KINDS, Model


def objects(node: Any) -> list[dict[str, Any]]:
    children = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
    own = [node] if isinstance(node, dict) and "properties" in node and "type" in node else []
    return own + [found for child in children for found in objects(child)]


def test_a_file_per_kind() -> None:
    assert sorted(schemas()) == [
        "devicegroup.schema.json",
        "deviceinventory.schema.json",
        "firmware.schema.json",
        "fleet.schema.json",
        "rollout.schema.json",
        "rolloutcontrol.schema.json",
        "rolloutpolicy.schema.json",
    ]


@pytest.mark.parametrize("name", sorted(schemas()))
def test_closed_and_described(name: str) -> None:
    schema = schemas()[name]
    assert schema["$id"].endswith(f"/{name}")
    found = objects(schema)
    assert found
    assert all(one.get("additionalProperties") is False for one in found if one["properties"])
    assert all(one["description"] for one in found)


def test_the_same_each_time() -> None:
    assert json.dumps(schemas()) == json.dumps(schemas())


def test_durations_and_sizes_are_text_as_in_yaml() -> None:
    definitions = schemas()["rollout.schema.json"]["$defs"]
    soak = definitions["Canary"]["properties"]["soak"]
    assert (soak["type"], soak["default"]) == ("string", "15m")
    assert soak["pattern"].startswith("^")
    assert definitions["Rolling"]["properties"]["batchSize"]["default"] == "10%"


def test_every_field_of_every_model_is_described() -> None:
    seen: set[type[Model]] = set()
    waiting: list[type[Model]] = list(KINDS.values())
    while waiting:
        model = waiting.pop()
        if model not in seen:
            seen.add(model)
            for name, info in fields_of(model).items():
                assert info.description, f"{model.__name__}.{name}"
                waiting.extend(models_in(info.annotation))
    assert {"Canary", "Backoff", "Selector", "DataFormat"} <= {model.__name__ for model in seen}
