"""An issuer of our own: real key pairs, and tokens in every form, also in those that no library would make."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.conftest import SECRET

KEY_PAIR_ALGORITHMS = ("EdDSA", "ES256", "ES512", "RS256", "PS256")

Sign = Callable[[bytes], bytes]


@dataclass
class Signer:
    """One key pair and the algorithm it is for."""

    algorithm: str
    kid: str = ""
    private: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.kid = self.kid or f"kid-{self.algorithm}"
        self.private = self.private or make_private_key(self.algorithm)

    def sign(self, message: bytes, algorithm: str = "") -> bytes:
        return jwt.get_algorithm_by_name(algorithm or self.algorithm).sign(message, self.private)

    def jwk(self, **members: Any) -> dict[str, Any]:
        """The public key as Better Auth publishes it; a member of None is left out."""
        published = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.private.public_key(), as_dict=True)
        published.pop("key_ops", None)
        published |= {"alg": self.algorithm, "kid": self.kid, **members}
        return {name: value for name, value in published.items() if value is not None}

    def token(self, claims: dict[str, Any], **header: Any) -> str:
        """Signed with this key; a header member of None is left out."""
        head = {"alg": self.algorithm, "kid": self.kid, **header}
        return compact({k: v for k, v in head.items() if v is not None}, claims, self.sign)


def make_private_key(algorithm: str) -> Any:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm in ("ES256", "ES512"):
        return ec.generate_private_key(ec.SECP256R1() if algorithm == "ES256" else ec.SECP521R1())
    return rsa.generate_private_key(65537, 2048)


def hs256(secret: str | bytes = SECRET, digest: str = "sha256") -> Sign:
    """HMAC by hand: PyJWT refuses to take a public key for a secret, an attacker does not."""
    key = secret.encode() if isinstance(secret, str) else secret
    return lambda message: hmac.new(key, message, getattr(hashlib, digest)).digest()


def segment(part: Any) -> str:
    """base64url of bytes as they are, of anything else as JSON."""
    raw = part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def compact(header: Any, claims: Any, sign: Sign) -> str:
    """The compact form (RFC 7515, section 7.1) over any bytes at all."""
    message = f"{segment(header)}.{segment(claims)}"
    return f"{message}.{segment(sign(message.encode()))}"


EVENT = "http://schemas.openid.net/event/backchannel-logout"


def said(sub: str | None, sid: str | None, **claims: Any) -> dict[str, Any]:
    """What a logout notice says that was made just now; a claim of None is left out."""
    now = int(time.time())
    about = {"sub": sub, "sid": sid, "iat": now, "exp": now + 120, "jti": uuid.uuid4().hex, "events": {EVENT: {}}}
    return {name: value for name, value in {**about, **claims}.items() if value is not None}


def notice(sub: str | None, sid: str | None, *, secret: str = SECRET, header: Any = None, **claims: Any) -> str:
    """A logout notice as the issuer signs it with the shared secret; a claim or header member of None is left out."""
    head = {"alg": "HS256", "typ": "logout+jwt", **(header or {})}
    return compact({k: v for k, v in head.items() if v is not None}, said(sub, sid, **claims), hs256(secret))
