"""An authority that stamps times (RFC 3161) on this machine: openssl behind HTTP, with faults on request."""

import datetime
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.programs import program

Fault = Literal["", "refuses", "replays", "babbles", "breaks"]
NAME = "Test time stamps"
_CONFIG = """
[tsa]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
certs = {folder}/chain.pem
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = {digests}
ess_cert_id_alg = sha256
"""


class TimeStampAuthority:
    """Answers as a real one would, or as `fault` says.

    Attributes:
        fault: refuses: the digest is not one it stamps; replays: the first answer again; babbles: no answer of this
            kind; breaks: HTTP 500.
        asked: how often.
    """

    def __init__(self, folder: Path, *, is_strict: bool = True) -> None:
        self.folder = folder
        self.fault: Fault = ""
        self.asked = 0
        self._openssl = program("openssl", package="openssl")
        self._first = b""
        _make_certificate(folder, is_strict=is_strict)
        for name, digests in (("stamps", "sha256, sha384, sha512"), ("refuses", "sha1")):
            (folder / name).write_text(_CONFIG.format(folder=folder, digests=digests))

    def answer(self, query: bytes) -> bytes:
        """The answer to a time-stamp request, both DER."""
        self.asked += 1
        if self.fault == "babbles":
            return b"no time stamp"
        if self.fault == "replays":
            return self._first
        asked = self.folder / f"query{self.asked}"
        asked.write_bytes(query)
        config = self.folder / ("refuses" if self.fault == "refuses" else "stamps")
        command = [self._openssl, "ts", "-reply", "-config", config, "-section", "tsa", "-queryfile", asked]
        answer = subprocess.run(command, capture_output=True, check=False, timeout=60).stdout
        self._first = self._first or answer
        return answer


@contextmanager
def time_stamp_authority(folder: Path, *, is_strict: bool = True) -> Iterator[tuple[TimeStampAuthority, str]]:
    """One that runs until the block ends, and its address.

    Args:
        is_strict: its certificate says what its key is for, as C2PA asks.
    """
    folder.mkdir()
    authority = TimeStampAuthority(folder, is_strict=is_strict)
    handler = type("Handler", (_Handler,), {"authority": authority})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield authority, f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    authority: ClassVar[TimeStampAuthority]

    def do_POST(self) -> None:
        query = self.rfile.read(int(self.headers["Content-Length"]))
        body = self.authority.answer(query)
        self.send_response(500 if self.authority.fault == "breaks" else 200)
        self.send_header("Content-Type", "application/timestamp-reply")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        """Say nothing."""


def _make_certificate(folder: Path, *, is_strict: bool) -> None:
    root_key, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    root = _certificate("Test root", root_key, "Test root", root_key)
    leaf = _certificate(NAME, key, "Test root", root_key, is_strict=is_strict)
    pem, pkcs8, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "tsa.key").write_bytes(key.private_bytes(pem, pkcs8, plain))
    (folder / "tsa.pem").write_bytes(leaf.public_bytes(pem))
    (folder / "chain.pem").write_bytes(root.public_bytes(pem))
    (folder / "serial").write_text("01\n")


def _certificate(
    name: str, key: rsa.RSAPrivateKey, issuer: str, by: rsa.RSAPrivateKey, *, is_strict: bool = True
) -> x509.Certificate:
    now, is_root = datetime.datetime.now(datetime.UTC), name == issuer
    subject, signer = (
        x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"), x509.NameAttribute(NameOID.COMMON_NAME, one)])
        for one in (name, issuer)
    )
    usage = dict.fromkeys(_USAGES, False) | dict.fromkeys(
        ("key_cert_sign", "crl_sign") if is_root else ("digital_signature",), True
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(is_root, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )
    if is_strict:
        builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    if not is_root:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return builder.sign(by, hashes.SHA256())


_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
