"""Preconditions: what a device says of itself may hold it back, and never adds one (DESIGN section 2, Facts)."""

from __future__ import annotations

from collections.abc import Mapping

from fwctl.manifests.models.rollout_parts import Fact, FlagFact, NumberFact, Preconditions, TextFact

Facts = Mapping[str, str | int | bool]


def not_ready(preconditions: Preconditions, facts: Facts) -> str | None:
    """Return the first condition that does not hold, for people; None if all hold. A missing fact holds back."""
    return next((why for fact in preconditions.facts if (why := _unmet(fact, facts))), None)


def _unmet(fact: Fact, facts: Facts) -> str | None:
    value = facts.get(fact.key)
    if value is None:
        return f"it does not report {fact.key}"
    match fact:
        case NumberFact(operator=operator, value=wanted):
            met = _is_number(value) and _compare(float(value), operator, wanted)
            return None if met else f"{fact.key} is {value}, wanted is {operator} {wanted:g}"
        case TextFact(operator=operator, value=text):
            met = (value == text) == (operator == "Equals")
            return None if met else f"{fact.key} is {value}, wanted is {operator} {text}"
        case FlagFact(operator=operator):
            met = isinstance(value, bool) and value == (operator == "IsTrue")
            return None if met else f"{fact.key} is {value}, wanted is {operator}"


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _compare(value: float, operator: str, wanted: float) -> bool:
    match operator:
        case "GreaterThan":
            return value > wanted
        case "LessThan":
            return value < wanted
        case "AtLeast":
            return value >= wanted
        case _:
            return value <= wanted
