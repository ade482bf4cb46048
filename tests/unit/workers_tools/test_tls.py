"""Over https the name of the URL is asked for, and proven, although an address is connected to."""

import datetime as dt
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.doubles.mcp_server import scripted_server
from tests.doubles.repository import InMemoryRepository
from tests.unit.workers_tools.conftest import Stack, request

HOST = "tools.example.test"


def certificate(host: str, folder: Path) -> Path:
    """Of a name, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{host}.pem"
    file.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


@pytest.mark.parametrize(("proven", "outcome"), [(HOST, "ok"), ("elsewhere.example.test", "error")])
def test_the_servers_certificate_is_of_the_urls_name(
    repository: InMemoryRepository, tmp_path: Path, proven: str, outcome: str
) -> None:
    file = certificate(proven, tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(file)
    asked: list[Any] = []
    serving.sni_callback = lambda _socket, name, _context: asked.append(name)

    async def resolver(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    with scripted_server(tls=serving) as server:
        stack = Stack(server, repository, resolver=resolver)
        stack.described = {"url": f"https://{HOST}:{server.port}/mcp"}
        stack.offer()

        trust = ssl.create_default_context(cafile=str(file))
        answer = stack.services(trust=trust).calling.call(request())

    assert answer.outcome == outcome
    assert set(asked) == {HOST}


def test_a_certificate_that_nobody_vouches_for_is_not_believed(
    repository: InMemoryRepository, tmp_path: Path
) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate("localhost", tmp_path))
    with scripted_server(tls=serving) as server:
        stack = Stack(server, repository)
        stack.described = {"url": f"https://localhost:{server.port}/mcp"}

        answer = stack.call()

    assert answer.reason == "unreachable"
    assert answer.text.endswith("The call was not made.")
