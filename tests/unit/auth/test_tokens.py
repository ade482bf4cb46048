import hashlib
import hmac
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from commons.auth.bearer import bearer_token
from commons.auth.tokens import TokenVerifier
from commons.errors import UnauthenticatedError
from commons.settings import TokenSettings

from .conftest import AUDIENCE, Issuer, MakeClaims, unsigned


def refused(verifier: TokenVerifier, token: str) -> bool:
    try:
        verifier.verify(token)
    except UnauthenticatedError:
        return True
    return False


def test_a_good_token_says_who_calls_and_until_when(
    verifier: TokenVerifier, issuer: Issuer, claims: MakeClaims
) -> None:
    expires_at = int(time.time()) + 300
    caller = verifier.verify(issuer.sign(claims(exp=expires_at, name="Alice")))
    assert (caller.user_id, caller.name, caller.expires_at) == ("alice", "Alice", expires_at)


def test_an_unsigned_token_is_refused(verifier: TokenVerifier, claims: MakeClaims) -> None:
    for algorithm in ("none", "None", "NONE", ""):
        assert refused(verifier, unsigned({"alg": algorithm, "kid": "key-1"}, claims()))


def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(
    verifier: TokenVerifier, issuer: Issuer, claims: MakeClaims
) -> None:
    header = {"alg": "HS256", "kid": "key-1", "typ": "JWT"}
    signed_part = unsigned(header, claims()).rsplit(".", 1)[0]
    signature = hmac.digest(issuer.public_pem(), signed_part.encode(), hashlib.sha256)
    assert refused(verifier, unsigned(header, claims(), signature))


def test_a_foreign_key_under_a_known_key_id_is_refused(
    verifier: TokenVerifier, claims: MakeClaims
) -> None:
    foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    token = jwt.encode(claims(), foreign, algorithm="RS256", headers={"kid": "key-1"})
    assert refused(verifier, token)


def test_another_rsa_algorithm_is_refused(
    verifier: TokenVerifier, issuer: Issuer, claims: MakeClaims
) -> None:
    for algorithm in ("RS384", "RS512", "PS256"):
        token = jwt.encode(
            claims(), issuer.keys["key-1"], algorithm=algorithm, headers={"kid": "key-1"}
        )
        assert refused(verifier, token)


def test_a_token_without_a_key_id_is_refused(
    verifier: TokenVerifier, issuer: Issuer, claims: MakeClaims
) -> None:
    assert refused(verifier, jwt.encode(claims(), issuer.keys["key-1"], algorithm="RS256"))


def test_keys_in_the_tokens_own_header_are_not_believed(
    verifier: TokenVerifier, issuer: Issuer, claims: MakeClaims
) -> None:
    foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    embedded = jwt.algorithms.RSAAlgorithm.to_jwk(foreign.public_key(), as_dict=True)
    token = jwt.encode(
        claims(),
        foreign,
        algorithm="RS256",
        headers={"kid": "key-1", "jwk": embedded, "jku": "http://127.0.0.1:9/evil.json"},
    )
    assert refused(verifier, token)


def test_a_key_of_another_kind_in_the_issuers_set_verifies_nothing(
    verifier: TokenVerifier, issuer: Issuer, claims: MakeClaims
) -> None:
    elliptic = ec.generate_private_key(ec.SECP256R1())
    public = jwt.algorithms.ECAlgorithm.to_jwk(elliptic.public_key(), as_dict=True)
    issuer.extra_jwks = [{**public, "kid": "elliptic", "use": "sig"}]
    token = jwt.encode(claims(), elliptic, algorithm="ES256", headers={"kid": "elliptic"})
    assert refused(verifier, token)
    assert refused(verifier, unsigned({"alg": "RS256", "kid": "elliptic"}, claims(), b"x"))


def test_an_expired_token_is_refused_after_the_leeway_of_30_seconds(
    verifier: TokenVerifier, issuer: Issuer, claims: MakeClaims
) -> None:
    now = int(time.time())
    assert refused(verifier, issuer.sign(claims(exp=now - 31)))
    assert not refused(verifier, issuer.sign(claims(exp=now - 20)))


def test_a_token_without_expiry_is_refused(
    verifier: TokenVerifier, issuer: Issuer, claims: MakeClaims
) -> None:
    assert refused(verifier, issuer.sign(claims(exp=None)))


def test_a_token_is_refused_before_its_time_less_the_leeway(
    verifier: TokenVerifier, issuer: Issuer, claims: MakeClaims
) -> None:
    now = int(time.time())
    assert refused(verifier, issuer.sign(claims(nbf=now + 60)))
    assert not refused(verifier, issuer.sign(claims(nbf=now + 20)))


@pytest.mark.parametrize("other", ["https://issuer.example/other", "", None])
def test_another_issuer_is_refused(
    verifier: TokenVerifier, issuer: Issuer, claims: MakeClaims, other: str | None
) -> None:
    assert refused(verifier, issuer.sign(claims(iss=other)))


@pytest.mark.parametrize("audience", ["client-2", ["client-2"], [], "", None, {"a": AUDIENCE}])
def test_another_audience_is_refused(
    verifier: TokenVerifier, issuer: Issuer, claims: MakeClaims, audience: object
) -> None:
    assert refused(verifier, issuer.sign(claims(aud=audience)))


@pytest.mark.parametrize("issued_at", [2**40, "yesterday", -1])
def test_when_a_token_was_issued_does_not_matter(
    verifier: TokenVerifier, issuer: Issuer, claims: MakeClaims, issued_at: object
) -> None:
    assert not refused(verifier, issuer.sign(claims(iat=issued_at)))


@pytest.mark.parametrize("claim", ["sub", "jti"])
def test_a_claim_that_names_no_user_may_be_anything(
    settings: TokenSettings, issuer: Issuer, claims: MakeClaims, claim: str
) -> None:
    verifier = TokenVerifier(settings.model_copy(update={"jwt_user_claim": "username"}))
    assert not refused(verifier, issuer.sign(claims(username="bob", **{claim: 7})))


def test_one_of_several_audiences_is_enough(
    verifier: TokenVerifier, issuer: Issuer, claims: MakeClaims
) -> None:
    assert not refused(verifier, issuer.sign(claims(aud=["client-2", AUDIENCE])))


def test_an_access_tokens_client_id_stands_for_an_absent_audience(
    verifier: TokenVerifier, issuer: Issuer, claims: MakeClaims
) -> None:
    access = claims(aud=None, client_id=AUDIENCE, token_use="access")
    assert not refused(verifier, issuer.sign(access))
    assert refused(verifier, issuer.sign(access | {"client_id": "client-2"}))
    assert refused(verifier, issuer.sign(access | {"token_use": "id"}))
    assert refused(verifier, issuer.sign(access | {"aud": "client-2"}))


@pytest.mark.parametrize(
    "user_id", [None, 7, ["alice"], "", "a b", "#agent", "ü", "a\n", "x" * 129]
)
def test_a_token_without_a_usable_user_id_is_refused(
    verifier: TokenVerifier, issuer: Issuer, claims: MakeClaims, user_id: object
) -> None:
    assert refused(verifier, issuer.sign(claims(sub=user_id)))


def test_another_claim_may_name_the_user(
    settings: TokenSettings, issuer: Issuer, claims: MakeClaims
) -> None:
    verifier = TokenVerifier(settings.model_copy(update={"jwt_user_claim": "username"}))
    assert verifier.verify(issuer.sign(claims(username="bob"))).user_id == "bob"
    assert refused(verifier, issuer.sign(claims()))


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ({"name": "A", "preferred_username": "B", "username": "C"}, "A"),
        ({"preferred_username": "B", "username": "C"}, "B"),
        ({"username": "C"}, "C"),
        ({"name": "", "username": "C"}, "C"),
        ({"name": 7}, None),
        ({}, None),
    ],
)
def test_the_display_name_is_the_first_claim_present(
    verifier: TokenVerifier,
    issuer: Issuer,
    claims: MakeClaims,
    names: dict[str, object],
    shown: str | None,
) -> None:
    assert verifier.verify(issuer.sign(claims(**names))).name == shown


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "....", "ü.b.c", "x" * 20_000])
def test_what_is_no_token_is_refused(verifier: TokenVerifier, token: str) -> None:
    assert refused(verifier, token)


def test_a_refusal_does_not_say_what_was_wrong(
    verifier: TokenVerifier, issuer: Issuer, claims: MakeClaims
) -> None:
    with pytest.raises(UnauthenticatedError) as refusal:
        verifier.verify(issuer.sign(claims(aud="client-2")))
    assert refusal.value.detail == "The token is not valid here."


def test_a_bearer_header_holds_the_token() -> None:
    assert bearer_token("Bearer abc") == "abc"
    assert bearer_token("bearer  abc ") == "abc"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "abc"])
def test_any_other_header_is_no_credential(header: str | None) -> None:
    with pytest.raises(UnauthenticatedError):
        bearer_token(header)
