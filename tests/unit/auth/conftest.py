import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from commons.auth.tokens import TokenVerifier
from commons.settings import TokenSettings

ISSUER = "https://issuer.example/pool"
AUDIENCE = "client-1"

type Claims = Mapping[str, object]
type MakeClaims = Callable[..., dict[str, object]]


@dataclass
class Issuer:
    """An issuer whose keys are served over HTTP; counts how often they were asked for."""

    url: str = ""
    fetches: int = 0
    status: int = 200
    cut_off: bool = False
    body: bytes | None = None
    keys: dict[str, rsa.RSAPrivateKey] = field(default_factory=dict)
    extra_jwks: list[dict[str, Any]] = field(default_factory=list)

    def add_key(self, key_id: str) -> rsa.RSAPrivateKey:
        self.keys[key_id] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return self.keys[key_id]

    def sign(self, claims: Claims, *, key_id: str = "key-1") -> str:
        return jwt.encode(
            dict(claims), self.keys[key_id], algorithm="RS256", headers={"kid": key_id}
        )

    def public_pem(self, key_id: str = "key-1") -> bytes:
        return (
            self.keys[key_id]
            .public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def recover(self) -> None:
        self.status, self.cut_off, self.body = 200, False, None

    def jwks(self) -> bytes:
        keys = [
            {
                **json.loads(RSAAlgorithm.to_jwk(key.public_key())),
                "kid": key_id,
                "alg": "RS256",
                "use": "sig",
            }
            for key_id, key in self.keys.items()
        ]
        return json.dumps({"keys": keys + self.extra_jwks}).encode()


@pytest.fixture(scope="module")
def served_issuer() -> Iterator[Issuer]:
    issuer = Issuer()

    class Jwks(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.fetches += 1
            body = issuer.jwks() if issuer.body is None else issuer.body
            self.send_response(issuer.status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:-20] if issuer.cut_off else body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Jwks)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    issuer.url = f"http://127.0.0.1:{server.server_port}/jwks.json"
    issuer.add_key("key-1")
    yield issuer
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def issuer(served_issuer: Issuer) -> Issuer:
    served_issuer.fetches = 0
    served_issuer.recover()
    served_issuer.keys = {"key-1": served_issuer.keys["key-1"]}
    served_issuer.extra_jwks = []
    return served_issuer


@pytest.fixture
def settings(issuer: Issuer) -> TokenSettings:
    return TokenSettings(
        jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_jwks_url=issuer.url, jwt_user_claim="sub"
    )


@pytest.fixture
def verifier(settings: TokenSettings) -> TokenVerifier:
    return TokenVerifier(settings)


@pytest.fixture
def claims() -> MakeClaims:
    """Claims of a good token; a value of None leaves one out."""

    def make(**changes: object) -> dict[str, object]:
        good: dict[str, object] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "alice",
            "exp": int(time.time()) + 600,
        }
        return {name: value for name, value in (good | changes).items() if value is not None}

    return make


def unsigned(header: Mapping[str, object], claims: Claims, signature: bytes = b"") -> str:
    """A compact JWS put together by hand: what a library refuses to produce."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    return ".".join(
        [part(json.dumps(header).encode()), part(json.dumps(claims).encode()), part(signature)]
    )
