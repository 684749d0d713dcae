"""Signs the models of a package with a key file (Ed25519, RFC 8032), and checks signatures before anything is loaded.

Who may write the artifact store and the registry's records can forge both; without the private key nobody can sign.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from medprior.errors import InputMissing
from medprior.provenance import sha256_file, write_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE_FILE = "signature.json"
STATEMENT = "medprior model 1 {digest}"  # what is signed: nothing else that the key may sign looks like it
MAX_SIGNATURE_BYTES = 4096
MAKE_KEYS = "openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout -out public.pem"


def load_signing_key(path: Path) -> Ed25519PrivateKey:
    """Load a private key: Ed25519 in PEM form (PKCS #8), without a password.

    Raises:
        InputMissing: the file cannot be read or holds something else.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, TypeError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputMissing(
            "no private key to sign with",
            where=f"--sign-key {path}",
            expected="Ed25519, PEM, no password",
            fix=MAKE_KEYS,
        )
    return key


def load_verification_key(path: Path) -> Ed25519PublicKey:
    """Load a public key: Ed25519 in PEM form.

    Raises:
        InputMissing: the file cannot be read or holds something else.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InputMissing(
            "no public key to verify with", where=f"--verify-key {path}", expected="Ed25519, PEM", fix=MAKE_KEYS
        )
    return key


def build_statement(folder: Path) -> bytes:
    """The signed bytes of a model folder: the digest of `config.json`, which holds that of the weights."""
    return STATEMENT.format(digest=sha256_file(folder / "config.json")).encode()


def sign_models(folders: Mapping[str, Path], key: Ed25519PrivateKey) -> None:
    """Write `signature.json` into each model folder."""
    for folder in folders.values():
        signature = base64.b64encode(key.sign(build_statement(folder))).decode("ascii")
        write_json(folder / SIGNATURE_FILE, {"algorithm": "Ed25519", "signature": signature})


def verify_models(folders: Mapping[str, Path], key: Ed25519PublicKey) -> None:
    """Refuse model folders that the owner of the key did not sign.

    Loading then compares the weights with the digest that `config.json` holds.

    Raises:
        InputMissing: a folder has no signature, or one of other files or by another key.
    """
    from cryptography.exceptions import InvalidSignature

    for name, folder in folders.items():
        signature = read_signature(folder / SIGNATURE_FILE)
        if signature is None:
            raise InputMissing(
                f"the {name} is not signed",
                where="--verify-key",
                expected=f"{SIGNATURE_FILE} beside its weights",
                fix="`medprior register --sign-key FILE` signs; models in folders: take the registered copy",
            )
        try:
            key.verify(signature, build_statement(folder))
        except InvalidSignature:
            raise InputMissing(
                f"the {name} was not signed with this key, or was changed since",
                where="--verify-key",
                fix="see who may write the store; register the model folder again with --sign-key",
            ) from None


def read_signature(path: Path) -> bytes | None:
    """The signature in a file; None without the file.

    A file that holds none gives an empty signature, which no key verifies.
    """
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > MAX_SIGNATURE_BYTES:
            return b""
        return base64.b64decode(json.loads(path.read_text(encoding="utf-8"))["signature"], validate=True)
    except (OSError, RecursionError, ValueError, LookupError, TypeError):
        return b""
