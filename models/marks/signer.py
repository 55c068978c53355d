"""Who signs: the operator's certificate, or an authority of this home's own, made once."""

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from configs.settings import Settings
from foundation.error_text import cause_text
from foundation.kept_secret import kept_secret
from models.statement import SYSTEM, MarkError

_PEM = serialization.Encoding.PEM
_DAYS = 10 * 365
"""The life of an own authority: without time stamps, nothing signed outlives its certificate."""


@dataclass(frozen=True)
class Credentials:
    """A key, the certificates that vouch for it (its own first), both PEM, and a time-stamp service.

    Attributes:
        is_own: they are of this home's making.
    """

    key: bytes
    certificates: bytes
    time_stamp_url: str = ""
    is_own: bool = False

    @property
    def algorithm(self) -> str:
        """Its name in C2PA."""
        key = serialization.load_pem_private_key(self.key, None)
        return "ed25519" if isinstance(key, ed25519.Ed25519PrivateKey) else "es256"

    @property
    def anchor(self) -> bytes:
        """The certificate that the others lead to, PEM."""
        return x509.load_pem_x509_certificates(self.certificates)[-1].public_bytes(_PEM)


def credentials(settings: Settings) -> Credentials:
    """What this deployment signs with. Raises MarkError if that is not to be had."""
    marks = settings.marks
    if marks.certificates is None:
        file = settings.home / "marks" / "authority.pem"
        try:
            key, _, certificates = kept_secret(file, _own_authority).partition(b"\n\n")
        except OSError as exc:
            raise MarkError(f"the key that signs pictures cannot be kept in {file}: {exc.strerror}.") from exc
        return Credentials(key, certificates, marks.time_stamp_url, is_own=True)
    try:
        certificates = (settings.home / marks.certificates.expanduser()).read_bytes()
        given = Credentials(marks.private_key.get_secret_value().encode(), certificates, marks.time_stamp_url)
        _check(given)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise MarkError(f"marks.certificates and marks.private_key: {cause_text(exc)}.") from exc
    return given


def _check(given: Credentials) -> None:
    key = serialization.load_pem_private_key(given.key, None)
    certificate, *_ = x509.load_pem_x509_certificates(given.certificates)
    if not isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) or (
        isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name != "secp256r1"
    ):
        raise ValueError("the key is neither Ed25519 nor of the curve P-256")
    if key.public_key() != certificate.public_key():
        raise ValueError("the first certificate is not the key's")
    if certificate.not_valid_after_utc < datetime.datetime.now(datetime.UTC):
        raise ValueError(f"the certificate ended on {certificate.not_valid_after_utc:%Y-%m-%d}; renew it")


def _own_authority() -> bytes:
    """A key and two certificates: of itself, and of an authority whose own key is kept by nobody."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("ImageGenX private authority", "ImageGenX private authority", authority, authority)
    leaf = _certificate("ImageGenX picture signer", "ImageGenX private authority", key, authority)
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(_PEM, pkcs8, plain) + b"\n" + leaf.public_bytes(_PEM) + root.public_bytes(_PEM)


def _certificate(
    subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """As C2PA asks (technical specification, certificate profile)."""
    begins = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    is_authority, usage = subject == issuer, dict.fromkeys(_USAGES, False)
    signs = ("key_cert_sign", "crl_sign") if is_authority else ("digital_signature",)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + datetime.timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(is_authority, 0 if is_authority else None), critical=True)
        .add_extension(x509.KeyUsage(**{**usage, **dict.fromkeys(signs, True)}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )
    if not is_authority:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(by, hashes.SHA256())


_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


def _name(common: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, SYSTEM), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )
