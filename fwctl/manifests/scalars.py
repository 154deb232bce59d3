"""The small words of a manifest: ids, versions, digests, durations, byte sizes, amounts.

Each is an annotated type that pydantic validates and that the JSON Schema shows as what one writes in YAML
(a string with a pattern). Patterns use ASCII classes only and match to the very end of the text: pydantic's
regular expressions are those of Rust, whose `$` does not stop before a last line feed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, Strict, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

_T = TypeVar("_T")

# A YAML list that becomes a tuple: only the container is lax, its members stay strict.
Seq = Annotated[tuple[_T, ...], Strict(False)]

ID_PATTERN: Final = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
NAME_PATTERN: Final = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"
LABEL_KEY_PATTERN: Final = r"^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$"
LABEL_VALUE_PATTERN: Final = r"^[A-Za-z0-9]([A-Za-z0-9 ._:/+-]{0,126}[A-Za-z0-9])?$"
METRIC_PATTERN: Final = r"^[A-Za-z][A-Za-z0-9_.-]{0,62}$"
VERSION_PATTERN: Final = (
    r"^(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){0,3}(-[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?"
    r"(\+[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?$"
)
DIGEST_PATTERN: Final = r"^sha256:[0-9a-f]{64}$"
DURATION_PATTERN: Final = r"^(0|[1-9][0-9]{0,6})(s|m|h|d)$"
SIZE_PATTERN: Final = r"^(0|[1-9][0-9]{0,11})(B|KiB|MiB|GiB)$"
PERCENT_PATTERN: Final = r"^([1-9][0-9]?|100)%$"
TIMEZONE_PATTERN: Final = r"^(UTC|[A-Z][A-Za-z_]{1,31}(/[A-Z][A-Za-z0-9_+-]{0,31}){1,2})$"
WINDOW_ZONE_PATTERN: Final = TIMEZONE_PATTERN.replace("UTC|", "UTC|device|")
ADDRESS_PATTERN: Final = r"^([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9a-fA-F:.]{2,45}\]):([1-9][0-9]{0,4})$"
TEMPLATE_PATTERN: Final = r"^(\[[0-9a-fA-F:.]{2,45}\]|([A-Za-z0-9.-]|\{(id|site|region)\}){1,253}):([1-9][0-9]{0,4})$"
URI_PATTERN: Final = (
    r"^(https|s3)://[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[1-9][0-9]{0,4})?(/[A-Za-z0-9._~!$&'()*+,;=:%-]*)+$"
)
STORAGE_URL_PATTERN: Final = (
    r"^https://([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:]{2,39}\])(:[1-9][0-9]{0,4})?"
    r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,127}){0,32}$"
)
STORE_PATH_PATTERN: Final = r"^/?[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*$"
CRON_PATTERN: Final = r"^[0-9*,/-]+( [0-9*,/-]+){4}$"
DATE_PATTERN: Final = r"^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"
WAVE_PATTERN: Final = r"^wave-[1-9][0-9]{0,3}$"
REGION_OR_WAVE_PATTERN: Final = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(/wave-[1-9][0-9]{0,3})?$"
WILDCARD_PATTERN: Final = r"^[a-z0-9*-]{1,63}$"
MOMENT_PATTERN: Final = (
    r"^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(Z|[+-][01][0-9]:[0-5][0-9])?$"
)
ANY_WAVE_PATTERN: Final = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/)?(wave-[1-9][0-9]{0,3}|late)$"

# What a person needs to read instead of a pattern: (what it is, an example of it).
WORDS: Final[dict[str, tuple[str, str]]] = {
    ID_PATTERN: ("an id: 1 to 63 of a-z 0-9 and inner hyphens", "sensor-v1"),
    NAME_PATTERN: ("a name: 1 to 63 of a-z 0-9 and inner dots and hyphens", "sensor-2.5.0"),
    LABEL_KEY_PATTERN: ("a label key: 1 to 63 of A-Z a-z 0-9 . _ / -", "ring"),
    LABEL_VALUE_PATTERN: ("a label value: 1 to 128 of A-Z a-z 0-9, inner blanks and . _ : / + -", "prod"),
    METRIC_PATTERN: ("the name of a metric or fact", "temperature"),
    VERSION_PATTERN: ("a version: up to four dotted numbers with an optional -pre and +build", '"2.5.0"'),
    DIGEST_PATTERN: ("a digest: sha256: and 64 lower-case hex digits", "sha256:e3b0c4..."),
    DURATION_PATTERN: ("a duration: a whole number and s, m, h or d", "15m"),
    SIZE_PATTERN: ("a size: a whole number and B, KiB, MiB or GiB", "50MiB"),
    TIMEZONE_PATTERN: ("a time zone of the IANA database", "Europe/Berlin"),
    WINDOW_ZONE_PATTERN: ("a time zone of the IANA database, or `device`", "Europe/Berlin"),
    ADDRESS_PATTERN: ("an address: host:port", "10.0.4.17:8443"),
    TEMPLATE_PATTERN: (
        "an address template: host:port with {id}, {site} or {region}",
        '"{id}.devices.example.net:8443"',
    ),
    URI_PATTERN: ("an https: or s3: address without user, query and fragment", "https://images.example.net/a.bin"),
    STORAGE_URL_PATTERN: (
        "an https address in lower case without user, query, fragment and last slash",
        "https://images.example.net/fw",
    ),
    STORE_PATH_PATTERN: ("a path without `..`, `~` or blanks", "images"),
    CRON_PATTERN: ("five cron fields of numbers, `*`, `,`, `-` and `/`", '"0 1 * * *"'),
    DATE_PATTERN: ("a day, quoted", '"2027-03-01"'),
    WILDCARD_PATTERN: ("an id in which `*` stands for any characters", '"prod*"'),
    MOMENT_PATTERN: ("a moment, quoted", '"2026-12-20T00:00:00Z"'),
    WAVE_PATTERN: ("the name of a wave", "wave-2"),
    REGION_OR_WAVE_PATTERN: ("a region, or a wave of it", "eu/wave-2"),
    ANY_WAVE_PATTERN: ("the name of a wave", "wave-2 or eu/wave-2"),
}


def _text(pattern: str) -> Any:
    return StringConstraints(pattern=pattern)


def _day(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise PydanticCustomError("fwctl_text", "{what}", {"what": DATE_PATTERN}) from None
    return text


Id = Annotated[str, _text(ID_PATTERN)]
Name = Annotated[str, _text(NAME_PATTERN)]
LabelKey = Annotated[str, _text(LABEL_KEY_PATTERN)]
LabelValue = Annotated[str, _text(LABEL_VALUE_PATTERN)]
Metric = Annotated[str, _text(METRIC_PATTERN)]
Version = Annotated[str, _text(VERSION_PATTERN)]
Digest = Annotated[str, _text(DIGEST_PATTERN)]
TimeZone = Annotated[str, _text(TIMEZONE_PATTERN)]
WindowZone = Annotated[str, _text(WINDOW_ZONE_PATTERN)]
ImageUri = Annotated[str, _text(URI_PATTERN)]
StorageUrl = Annotated[str, _text(STORAGE_URL_PATTERN)]
StorePath = Annotated[str, _text(STORE_PATH_PATTERN)]
Date = Annotated[str, _text(DATE_PATTERN), AfterValidator(_day)]
Wildcard = Annotated[str, _text(WILDCARD_PATTERN)]
Moment = Annotated[str, _text(MOMENT_PATTERN)]
WaveName = Annotated[str, _text(WAVE_PATTERN)]
RegionOrWave = Annotated[str, _text(REGION_OR_WAVE_PATTERN)]
AnyWave = Annotated[str, _text(ANY_WAVE_PATTERN)]
Prose = Annotated[str, StringConstraints(max_length=16384)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10_000_000)]
PositiveCount = Annotated[int, Field(ge=1, le=10_000_000)]
Counter = Annotated[int, Field(ge=0, le=2**53 - 1)]

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES: Final = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def _wrong(pattern: str) -> PydanticCustomError:
    return PydanticCustomError("fwctl_text", "{what}", {"what": pattern})


def parse_duration(value: object) -> int:
    """Return the seconds of a duration such as `30s`, `15m`, `4h` or `2d`."""
    if not isinstance(value, str) or (found := re.fullmatch(DURATION_PATTERN[1:-1], value)) is None:
        raise _wrong(DURATION_PATTERN)
    return int(found[1]) * _SECONDS[found[2]]


def parse_size(value: object) -> int:
    """Return the bytes of a size such as `512KiB` or `50MiB`."""
    if not isinstance(value, str) or (found := re.fullmatch(SIZE_PATTERN[1:-1], value)) is None:
        raise _wrong(SIZE_PATTERN)
    return int(found[1]) * _BYTES[found[2]]


def _parse_ported(pattern: str) -> BeforeValidator:
    def check(value: object) -> object:
        if isinstance(value, str):
            found = re.fullmatch(pattern[1:-1], value)
            if found is None or int(found.groups()[-1]) > 65535:
                raise _wrong(pattern)
        return value

    return BeforeValidator(check, json_schema_input_type=str)


Address = Annotated[str, _parse_ported(ADDRESS_PATTERN), WithJsonSchema({"type": "string", "pattern": ADDRESS_PATTERN})]
AddressTemplate = Annotated[
    str, _parse_ported(TEMPLATE_PATTERN), WithJsonSchema({"type": "string", "pattern": TEMPLATE_PATTERN})
]
Duration = Annotated[
    int, PlainValidator(parse_duration), WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN})
]
ByteSize = Annotated[int, PlainValidator(parse_size), WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN})]


def duration(text: str, description: str) -> Any:
    """Return a field of type Duration whose default is written as in YAML."""
    return Field(parse_duration(text), description=description, json_schema_extra={"default": text})


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of devices (`50`) or a share of them (`10%`)."""

    value: int
    unit: Literal["devices", "percent"]

    def of(self, total: int) -> int:
        """Return the whole devices meant among `total`; shares round up, so that 5 % of 37 is 2."""
        return self.value if self.unit == "devices" else -(-total * self.value // 100)

    def __str__(self) -> str:
        return str(self.value) if self.unit == "devices" else f"{self.value}%"


def parse_amount(value: object) -> Amount:
    """Return the amount written as a whole number or as a percentage such as `10%`."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10_000_000:
        return Amount(value, "devices")
    if isinstance(value, str) and re.fullmatch(PERCENT_PATTERN[1:-1], value):
        return Amount(int(value[:-1]), "percent")
    raise PydanticCustomError("fwctl_amount", "expected a whole number of devices or a share such as 10%")


AmountOf = Annotated[
    Amount,
    PlainValidator(parse_amount),
    WithJsonSchema({"type": ["integer", "string"], "minimum": 1, "pattern": PERCENT_PATTERN}),
]


def amount(text: str | int, description: str) -> Any:
    """Return a field of type Amount whose default is written as in YAML."""
    return Field(parse_amount(text), description=description, json_schema_extra={"default": text})


_CRON_RANGES: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def _cron_item(item: str, low: int, high: int) -> bool:
    found = re.fullmatch(r"(?:\*|([0-9]{1,2})(?:-([0-9]{1,2}))?)(?:/([0-9]{1,2}))?", item)
    if found is None:
        return False
    first, last, step = (int(text) if text else None for text in found.groups())
    if step is not None and step < 1:
        return False
    if first is None:
        return True
    return low <= first <= (high if last is None else last) <= high


def parse_cron(value: object) -> object:
    """Return a cron expression of five numeric fields unchanged, or refuse it."""
    if isinstance(value, str):
        fields = value.split(" ")
        if len(fields) != 5 or not all(
            _cron_item(item, low, high)
            for field, (low, high) in zip(fields, _CRON_RANGES, strict=True)
            for item in field.split(",")
        ):
            raise _wrong(CRON_PATTERN)
    return value


Cron = Annotated[
    str,
    BeforeValidator(parse_cron, json_schema_input_type=str),
    WithJsonSchema({"type": "string", "pattern": CRON_PATTERN}),
]


class VersionKey(NamedTuple):
    """What versions sort by: the numbers, then releases after their previews (semver 2.0, section 11)."""

    numbers: tuple[int, ...]
    released: bool
    preview: tuple[tuple[bool, int, str], ...]


def version_key(version: str) -> VersionKey:
    """Return the sort key of a version that matches `VERSION_PATTERN`; +build does not count."""
    core, _, preview = version.partition("+")[0].partition("-")
    numbers = [int(part) for part in core.split(".")]
    while numbers and numbers[-1] == 0:  # 2.5 and 2.5.0 are the same precedence
        numbers.pop()
    parts = tuple((not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in preview.split(".")) if preview else ()
    return VersionKey(tuple(numbers), not preview, parts)
