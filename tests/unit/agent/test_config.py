"""`agent.toml`: what enrolment writes is read back; everything else is told with place and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fwctl_agent.config import ConfigError, read_settings
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.enrolment import enrolment_files
from fwctl_agent.runtime.settings import FactsCommand, Readiness
from tests.support.signing import NOW

FACTS: dict[str, Any] = {
    "device_id": "device-001",
    "repo_id": "acme",
    "model": "sensor-v1",
    "hardware": "rev-a",
    "env": "dev",
    "enrolled_at": NOW,
    "key_pem": b"key",
    "certificate_pem": b"certificate",
    "controller_ca_pem": b"ca",
    "root": "{}",
    "factory_image": b"factory",
    "factory_version": "1.0.0",
}


def written(folder: Path, text: str | None = None, **changes: Any) -> Path:
    settings = enrolment_files(**(FACTS | changes))["agent.toml"]
    (folder / "agent.toml").write_bytes(settings if text is None else text.encode())
    return folder


def edited(folder: Path, old: str, new: str) -> Path:
    text = enrolment_files(**FACTS)["agent.toml"].decode()
    assert old in text
    return written(folder, text.replace(old, new))


def test_what_enrolment_writes_is_read_back(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, host="127.0.0.9", port=8443, reboot="exit", boot_seconds=5))
    assert (settings.id, settings.repo_id, settings.enrolled_at) == ("device-001", "acme", NOW)
    assert (settings.host, settings.port, settings.reboot, settings.boot_seconds) == ("127.0.0.9", 8443, "exit", 5)
    assert settings.factory.image == canonical.digest(b"factory")
    assert settings.installer == "slots"
    assert settings.probes["default"].checks == ()


def test_the_commented_examples_are_right(tmp_path: Path) -> None:
    text = enrolment_files(**FACTS)["agent.toml"].decode()
    commented = ("# ", "# [")
    lines = [
        line[2:] if line.startswith(commented[0]) and ("=" in line or line.startswith(commented[1])) else line
        for line in text.split("\n")
    ]
    text = "\n".join(lines).replace('type = "slots" ', "# ")
    settings = read_settings(written(tmp_path, text))
    assert set(settings.commands) == {"write", "readback", "activate", "markGood", "revert", "status"}
    assert settings.commands["write"] == ("/usr/lib/fwctl/write", "{slot}")
    assert settings.probes["default"].checks[0].name == "app"
    assert settings.readiness == Readiness(command=("/usr/lib/fwctl/ready",), timeout=10.0)
    assert settings.facts_command == FactsCommand(argv=("/usr/lib/fwctl/facts",), timeout=10.0, every=60.0)
    assert settings.download_ca == "storage-ca.pem"


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("port = 0 ", 'port = "0" ', "[listen] port"),
        ("port = 0 ", "port = 70000 ", "[listen] port"),
        ("port = 0 ", "prot = 0 ", "[listen] port"),
        ("tries = 3 ", "tries = true ", "[boot] tries"),
        ("tries = 3 ", "tries = 3\nfries = 3 ", "[boot] fries"),
        ('id = "device-001"', 'id = "Device_1"', "[device] id"),
        ('id = "device-001"', 'id = "device-001\\n"', "[device] id"),
        ('enrolledAt = "', 'enrolledAt = "yesterday ', "[device] enrolledAt"),
        ('type = "slots"', 'type = "rauc"', "[installer] type"),
        ('type = "slots"', 'type = "command"', "[installer] write"),
        ("[facts]", "[facts]\nx = 1.5", "[facts] x"),
        ("[facts]", "[colour]\n[facts]", "colour"),
        ("[facts]", "[readiness]\ntimeout = 5\n[facts]", "[readiness] command"),
        ("[facts]", "[readiness]\ncommand = ['/x']\ntimeout = 0\n[facts]", "[readiness] timeout"),
        ("[facts]", "[readiness]\ncommand = '/x'\n[facts]", "[readiness] command"),
        ("[facts]", "[facts_command]\nargv = ['/x']\nevery = 1e9\n[facts]", "[facts_command] every"),
        ("[facts]", "[facts_command]\nargv = ['/x']\ncolour = 1\n[facts]", "[facts_command] colour"),
        ("[facts]", "[download]\n[facts]", "[download] ca"),
        ("[facts]", "[download]\nca = ''\n[facts]", "[download] ca"),
        ("[facts]", "[download]\nca = 'x'\nproxy = 'y'\n[facts]", "[download] proxy"),
        ("deadline = 60", "deadline = nan", "[probes.default] deadline"),
        ("[facts]", "[[probes.default.checks]]\nname = 'x'\ntype = 'ftp'\n[facts]", "[probes.default.checks[1]] type"),
        (
            "[facts]",
            "[[probes.default.checks]]\nname = 'x'\ntype = 'http'\nurl = 'file:///etc/passwd'\n[facts]",
            "[probes.default.checks[1]] url",
        ),
        (
            "[facts]",
            "[[probes.default.checks]]\nname = 'x'\ntype = 'command'\nargv = []\n[facts]",
            "[probes.default.checks[1]] argv",
        ),
        ("interval = 2\n", f"interval = 1{'0' * 400}\n", "[probes.default] interval"),
        ("[facts]", "[facts]\nbattery = 9007199254740992", "[facts] battery"),
    ],
)
def test_each_mistake_is_told_with_its_place(tmp_path: Path, old: str, new: str, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings(edited(tmp_path, old, new))
    assert caught.value.place.endswith(place)
    assert str(tmp_path / "agent.toml") in caught.value.place
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["= nonsense", "a = " + "[" * 5000, "a = 1\na = 2", "\x00", "a = " + "9" * 5000])
def test_what_is_not_toml_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="TOML"):
        read_settings(written(tmp_path, text))


def test_a_missing_folder_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fwctl device enroll"):
        read_settings(tmp_path / "nothing")


def test_a_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError):
        read_settings(tmp_path)


@pytest.mark.parametrize(
    "changes", [{"device_id": 'x"\nevil = 1'}, {"host": 'h"'}, {"factory_version": "1\n"}, {"reboot": "now"}]
)
def test_nothing_can_be_smuggled_into_the_file(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"must be|not a name"):
        enrolment_files(**(FACTS | changes))
