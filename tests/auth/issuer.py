"""A test issuer: real key pairs, and tokens of every form, including malformed ones that no library makes."""

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
    """A key pair and its algorithm."""

    algorithm: str
    kid: str = ""
    private: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.kid = self.kid or f"kid-{self.algorithm}"
        self.private = self.private or make_private_key(self.algorithm)

    def sign(self, message: bytes, algorithm: str = "") -> bytes:
        return jwt.get_algorithm_by_name(algorithm or self.algorithm).sign(message, self.private)

    def jwk(self, **members: Any) -> dict[str, Any]:
        """Return the public key as a JWK, as Better Auth publishes it; members with the value None are left out."""
        published = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.private.public_key(), as_dict=True)
        published.pop("key_ops", None)
        published |= {"alg": self.algorithm, "kid": self.kid, **members}
        return {name: value for name, value in published.items() if value is not None}

    def token(self, claims: dict[str, Any], **header: Any) -> str:
        """Return a token signed with this key; header members with the value None are left out."""
        head = {"alg": self.algorithm, "kid": self.kid, **header}
        return compact({k: v for k, v in head.items() if v is not None}, claims, self.sign)


def make_private_key(algorithm: str) -> Any:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm in ("ES256", "ES512"):
        return ec.generate_private_key(ec.SECP256R1() if algorithm == "ES256" else ec.SECP521R1())
    return rsa.generate_private_key(65537, 2048)


def hs256(secret: str | bytes = SECRET, digest: str = "sha256") -> Sign:
    """Return an HMAC signing function; unlike PyJWT it accepts a public key as the secret, as an attacker would."""
    key = secret.encode() if isinstance(secret, str) else secret
    return lambda message: hmac.new(key, message, getattr(hashlib, digest)).digest()


def base64url(part: Any) -> str:
    """Encode bytes, or anything else as JSON, to unpadded base64url."""
    raw = part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def compact(header: Any, claims: Any, sign: Sign) -> str:
    """Return a token in compact serialization (RFC 7515, section 7.1), with any content."""
    message = f"{base64url(header)}.{base64url(claims)}"
    return f"{message}.{base64url(sign(message.encode()))}"


EVENT = "http://schemas.openid.net/event/backchannel-logout"


def logout_claims(sub: str | None, sid: str | None, **claims: Any) -> dict[str, Any]:
    """Return the claims of a new logout token; claims with the value None are left out."""
    now = int(time.time())
    defaults = {"sub": sub, "sid": sid, "iat": now, "exp": now + 120, "jti": uuid.uuid4().hex, "events": {EVENT: {}}}
    return {name: value for name, value in {**defaults, **claims}.items() if value is not None}


def logout_token(sub: str | None, sid: str | None, *, secret: str = SECRET, header: Any = None, **claims: Any) -> str:
    """Return a logout token signed with the shared secret; claims and header members of None are left out."""
    head = {"alg": "HS256", "typ": "logout+jwt", **(header or {})}
    return compact({k: v for k, v in head.items() if v is not None}, logout_claims(sub, sid, **claims), hs256(secret))
