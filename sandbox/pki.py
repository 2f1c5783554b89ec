"""Keys and certificates of one sandbox: a CA of its own, a serving certificate, client certificates."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVICE_IP = "10.96.0.1"  # first address of the service range: what the `kubernetes` Service gets
_LIFETIME = dt.timedelta(days=90)
_MARGIN = dt.timedelta(days=2)
_SERVING_NAMES = (
    "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)  # fmt: skip


@dataclass(frozen=True)
class Identity:
    """A client certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True)
class Pki:
    """The files in one folder; made on first use, made anew when incomplete or about to expire."""

    folder: Path

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def serving_cert(self) -> Path:
        return self.folder / "serving.crt"

    @property
    def serving_key(self) -> Path:
        return self.folder / "serving.key"

    @property
    def service_account_key(self) -> Path:
        return self.folder / "service-account.key"

    @property
    def _ca_key(self) -> Path:
        return self.folder / "ca.key"

    def ensure(self) -> bool:
        """Make what is missing; True when new material was made, so client certificates must follow."""
        if self._usable():
            return False
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        ca_key = ec.generate_private_key(ec.SECP256R1())
        name = _name("inferencefleet-sandbox")
        ca = (
            _builder(name, name, ca_key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        # RSA: the key type every Kubernetes release accepts for service-account tokens.
        _secret(self.service_account_key, _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
        _secret(self._ca_key, _pem(ca_key))
        self.ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        serving = self._issue(_name("kube-apiserver"), ExtendedKeyUsageOID.SERVER_AUTH, serving=True)
        _secret(self.serving_key, serving.key)
        self.serving_cert.write_bytes(serving.certificate)  # last: `_usable` looks at it first
        return True

    def client(self, user: str, groups: Sequence[str] = ()) -> Identity:
        """A certificate that makes its bearer `user`, a member of `groups`."""
        return self._issue(_name(user, groups), ExtendedKeyUsageOID.CLIENT_AUTH, serving=False)

    def _usable(self) -> bool:
        needed = (self.serving_cert, self.serving_key, self.ca_file, self._ca_key, self.service_account_key)
        try:
            if not all(path.stat().st_size for path in needed):
                return False
            certificate = x509.load_pem_x509_certificate(self.serving_cert.read_bytes())
        except (FileNotFoundError, ValueError):
            return False
        return certificate.not_valid_after_utc > dt.datetime.now(dt.UTC) + _MARGIN

    def _issue(self, subject: x509.Name, usage: x509.ObjectIdentifier, *, serving: bool) -> Identity:
        ca = x509.load_pem_x509_certificate(self.ca_file.read_bytes())
        ca_key = serialization.load_pem_private_key(self._ca_key.read_bytes(), password=None)
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(subject, ca.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )
        if serving:
            addresses = [ipaddress.ip_address(text) for text in ("127.0.0.1", SERVICE_IP)]
            names = [*map(x509.DNSName, _SERVING_NAMES), *map(x509.IPAddress, addresses)]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(ca_key, hashes.SHA256())
        return Identity(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def _name(common: str, organizations: Sequence[str] = ()) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + _LIFETIME)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _secret(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
