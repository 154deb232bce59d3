"""Encrypt a private key as PKCS#8 does (PBES2, RFC 8018), with scrypt (RFC 7914) and AES-256-CBC.

`cryptography` reads this, and so does OpenSSL; but what it writes itself stretches a passphrase by 2048 rounds of
PBKDF2, which a stolen file does not resist for long.
"""

from __future__ import annotations

import os
from base64 import b64encode
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7

N, R, P = 1 << 14, 8, 5
"""16 MiB of memory and about a tenth of a second for each guess: a setting that OWASP lists"""
_PBES2: Final = bytes.fromhex("06092a864886f70d01050d")  # 1.2.840.113549.1.5.13
_SCRYPT: Final = bytes.fromhex("06092b06010401da47040b")  # 1.3.6.1.4.1.11591.4.11
_AES_256_CBC: Final = bytes.fromhex("060960864801650304012a")  # 2.16.840.1.101.3.4.1.42


def encrypt(private_key: bytes, passphrase: bytes) -> bytes:
    """Return `private_key`, a PrivateKeyInfo in DER, as an encrypted PEM file."""
    salt, iv = os.urandom(16), os.urandom(16)
    key = Scrypt(salt=salt, length=32, n=N, r=R, p=P).derive(passphrase)
    padder = PKCS7(128).padder()
    cipher = Cipher(AES(key), CBC(iv)).encryptor()
    sealed = cipher.update(padder.update(private_key) + padder.finalize()) + cipher.finalize()
    stretching = _sequence(_SCRYPT, _sequence(_octets(salt), _integer(N), _integer(R), _integer(P)))
    how = _sequence(_PBES2, _sequence(stretching, _sequence(_AES_256_CBC, _octets(iv))))
    text = b64encode(_sequence(how, _octets(sealed)))
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN ENCRYPTED PRIVATE KEY-----", *lines, b"-----END ENCRYPTED PRIVATE KEY-----", b""])


def _tagged(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(digits)]) + digits + content


def _sequence(*parts: bytes) -> bytes:
    return _tagged(0x30, b"".join(parts))


def _octets(content: bytes) -> bytes:
    return _tagged(0x04, content)


def _integer(number: int) -> bytes:
    return _tagged(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))
