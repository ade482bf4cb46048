"""Forged tokens are refused at both doors, on the running stack (CONTRACT, section 4)."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.e2e.clients import Json, RestClient, open_socket
from websockets.exceptions import InvalidStatus


def encoded(part: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def header(token: str) -> Json:
    unverified: Json = jwt.get_unverified_header(token)
    return unverified


def claims(token: str) -> Json:
    unverified: Json = jwt.decode(token, options={"verify_signature": False})
    return unverified


def unsigned(token: str, _jwks: Json) -> str:
    return f'{encoded({**header(token), "alg": "none"})}.{encoded(claims(token))}.'


def signed_with_the_public_key_as_secret(token: str, jwks: Json) -> str:
    key = jwt.PyJWK(jwks["keys"][0]).key
    secret = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f'{encoded({**header(token), "alg": "HS256"})}.{encoded(claims(token))}'
    signature = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def signed_with_a_foreign_key(token: str, _jwks: Json) -> str:
    foreign = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    return jwt.encode(claims(token), foreign, "RS256", headers={"kid": header(token)["kid"]})


def with_other_claims(token: str, _jwks: Json) -> str:
    head, _claims, signature = token.split(".")
    longer = {**claims(token), "username": "bob", "exp": int(time.time()) + 10**6}
    return f"{head}.{encoded(longer)}.{signature}"


def no_token_at_all(_token: str, _jwks: Json) -> str:
    return "nonsense"


@pytest.mark.parametrize(
    "forge",
    [
        unsigned,
        signed_with_the_public_key_as_secret,
        signed_with_a_foreign_key,
        with_other_claims,
        no_token_at_all,
    ],
)
def test_a_forged_token_opens_neither_door(
    alice: RestClient,
    websocket_url: str,
    jwks_url: str,
    forge: Callable[[str, Json], str],
) -> None:
    forged = forge(alice.token, httpx.get(jwks_url).json())

    with RestClient(alice.rest_url, forged) as forger:
        answer = forger.call("GET", "/me", 401)

    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 401
    for query, headers in [
        (f"token={forged}", None),
        ("", {"Authorization": f"Bearer {forged}"}),
        (f"ticket={forged}", None),
    ]:
        with (
            pytest.raises(InvalidStatus) as refused,
            open_socket(websocket_url, query, headers),
        ):
            pass
        assert refused.value.response.status_code in {401, 403}


def test_a_ticket_opens_one_socket_once(alice: RestClient, websocket_url: str) -> None:
    ticket = alice.ticket()

    with open_socket(websocket_url, f"ticket={ticket}") as socket:
        assert socket.ask("ping")["type"] == "pong"
    with pytest.raises(InvalidStatus), open_socket(websocket_url, f"ticket={ticket}"):
        pass


def test_a_socket_is_refused_for_a_channel_of_others(
    alice: RestClient, carol: RestClient, websocket_url: str
) -> None:
    channel = alice.create_channel()
    ticket = carol.ticket()

    for _try in range(2):
        with (
            pytest.raises(InvalidStatus),
            open_socket(websocket_url, f"ticket={ticket}&channels={channel}"),
        ):
            pass
    with pytest.raises(InvalidStatus), open_socket(websocket_url, f"ticket={ticket}"):
        pass
