"""Reading many enrolments: what is shared between them changes no setting."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from fwctl_agent.config import ConfigError, read_settings
from fwctl_agent.enrolled import SettingsReader
from fwctl_agent.protocol.enrolment import SETTINGS, enrolment_files


def enroll(below: Path, name: str, *, host: str = "127.0.0.1", version: str = "1.0.0") -> Path:
    files = enrolment_files(
        device_id=name,
        repo_id="repo",
        model="sensor-v1",
        hardware="rev-a",
        env="dev",
        enrolled_at=datetime(2026, 3, 1, tzinfo=UTC),
        key_pem=b"",
        certificate_pem=b"",
        controller_ca_pem=b"",
        root="",
        factory_image=b"image",
        factory_version=version,
        host=host,
    )
    folder = below / name
    folder.mkdir()
    (folder / SETTINGS).write_bytes(files[SETTINGS])
    return folder


def test_files_that_differ_in_name_and_address_are_parsed_once(tmp_path: Path) -> None:
    hosts = ["127.1.0.1", "127.1.0.2", "::1", "device-4.example.org"]
    folders = [enroll(tmp_path, f"d{number}", host=host) for number, host in enumerate(hosts)]
    reader = SettingsReader()
    assert [reader.read(folder) for folder in folders] == [read_settings(folder) for folder in folders]
    assert reader.shared == len(hosts) - 1


def test_files_that_differ_in_more_are_read_each(tmp_path: Path) -> None:
    folders = [enroll(tmp_path, "d0"), enroll(tmp_path, "d1", version="1.0.1"), enroll(tmp_path, "d2")]
    texts = ['[facts]\nhost = "127.0.0.1"\n', '[facts]\nhost = "127.0.0.2"\n']
    for folder, text in zip(folders, [*texts, *texts], strict=False):
        path = folder / SETTINGS
        path.write_text(path.read_text().replace("[facts]", text, 1))
    reader = SettingsReader()
    assert [reader.read(folder) for folder in folders] == [read_settings(folder) for folder in folders]
    assert reader.shared == 1
    assert [reader.read(folder).facts["host"] for folder in folders] == ["127.0.0.1", "127.0.0.2", "127.0.0.1"]


def test_a_bad_file_is_refused_however_many_good_ones_were_read(tmp_path: Path) -> None:
    reader = SettingsReader()
    reader.read(enroll(tmp_path, "d0"))
    bad = enroll(tmp_path, "d1")
    path = bad / SETTINGS
    path.write_text(path.read_text() + "\n[nonsense]\n")
    with pytest.raises(ConfigError, match="nonsense"):
        reader.read(bad)
