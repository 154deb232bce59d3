"""Where images lie, addressed by the SHA-256 of their bytes."""

from fwctl.storage.choose import from_spec
from fwctl.storage.file import FileStorage
from fwctl.storage.https import HttpsStorage
from fwctl.storage.interface import Reader, Stat, Storage

__all__ = ["FileStorage", "HttpsStorage", "Reader", "Stat", "Storage", "from_spec"]
