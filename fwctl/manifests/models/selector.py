"""Selectors: which devices, by what they are and by their labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from fwctl.manifests.models.base import Model
from fwctl.manifests.scalars import LabelKey, LabelValue, Seq

# Facts of the inventory that a selector may name beside labels.
BUILT_IN_KEYS: Final = ("id", "model", "hardware", "env", "region", "site")


class MatchExpression(Model):
    """One condition on one key."""

    key: LabelKey = Field(description="A label, or one of id, model, hardware, env, region, site.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="`NotIn` and `DoesNotExist` also hold for a device that lacks the key."
    )
    values: Seq[LabelValue] = Field((), description="The values of `In` and `NotIn`; none for the others.")

    @model_validator(mode="after")
    def _values(self) -> Self:
        wants = self.operator in ("In", "NotIn")
        if wants and not self.values:
            raise PydanticCustomError("fwctl_at", "`{op}` needs values", {"field": "values", "op": self.operator})
        if not wants and self.values:
            raise PydanticCustomError("fwctl_at", "`{op}` takes no values", {"field": "values", "op": self.operator})
        return self

    def matches(self, facts: Mapping[str, str]) -> bool:
        """Say whether a device with these labels and built-in keys meets the condition."""
        value = facts.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None


class Selector(Model):
    """All conditions must hold. An empty selector is refused: say `all: true` where you mean everything."""

    match_labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, description="Key and value that must be equal; short for `In` with one value."
    )
    match_expressions: Seq[MatchExpression] = Field((), description="Conditions that must all hold.")

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.match_labels and not self.match_expressions:
            raise PydanticCustomError("fwctl_empty_selector", "an empty selector would match every device")
        return self

    def matches(self, facts: Mapping[str, str]) -> bool:
        """Say whether a device with these labels and built-in keys is selected."""
        return self.matches_but_id(facts) and self.matches_id(facts.get("id"))

    @property
    def names_id(self) -> bool:
        """Whether a condition is about the device's id, so that the rest of its facts does not decide alone."""
        return "id" in self.match_labels or any(expression.key == "id" for expression in self.match_expressions)

    def matches_but_id(self, facts: Mapping[str, str]) -> bool:
        """Say whether all conditions on other keys than the id are met."""
        return all(facts.get(key) == value for key, value in self.match_labels.items() if key != "id") and all(
            expression.matches(facts) for expression in self.match_expressions if expression.key != "id"
        )

    def matches_id(self, device: str | None) -> bool:
        """Say whether all conditions on the id are met."""
        facts = {} if device is None else {"id": device}
        return self.match_labels.get("id", device) == device and all(
            expression.matches(facts) for expression in self.match_expressions if expression.key == "id"
        )
