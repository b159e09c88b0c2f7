"""One secret ──> authorities, certificates and keys; the same secret gives the same bytes.

Every key is derived from the secret and a name (HKDF, RFC 5869), and signatures are deterministic (RFC 6979):
one small file is all that has to be kept private, saved with a checkpoint, and removed. Keys are P-256, which
cost an emulated guest a tenth of what RSA does.
"""

import datetime
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tasks.build.credentials.keys import YEARS, KeyPair, Secret

CURVE = ec.SECP256R1()
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of its group (SEC 2, 2.4.2)
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True)
class Key:
    """A private key."""

    private: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The private key (RFC 5915), not encrypted."""
        return self.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )

    @property
    def public_pem(self) -> bytes:
        """The public key."""
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


@dataclass(frozen=True)
class Subject:
    """Whom a certificate is for: Kubernetes reads the user from `name`, and the group from `group`."""

    name: str
    group: str = ""
    hosts: Sequence[str] = ()  # names and addresses of a server

    @property
    def x509(self) -> x509.Name:
        """The distinguished name."""
        group = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.group)] if self.group else []
        return x509.Name([*group, x509.NameAttribute(NameOID.COMMON_NAME, self.name)])


def key(secret: Secret, name: str) -> Key:
    """The private key called `name`."""
    derived = HKDF(hashes.SHA256(), 48, salt=None, info=f"key {name}".encode()).derive(secret.value)
    wide = int.from_bytes(derived)  # 128 bits more than needed, so that no value is likelier
    return Key(ec.derive_private_key(wide % (ORDER - 1) + 1, CURVE))


class Authority:
    """A certificate authority called `name`."""

    def __init__(self, secret: Secret, name: str) -> None:
        self._secret = secret
        self._name = name
        self._key = key(secret, name)
        self._subject = Subject(name)
        builder = _builder(secret, self._subject, self._subject, self._key)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(authority=True), critical=True)
        self._certificate = _signed(builder, self._key)

    @property
    def pair(self) -> KeyPair:
        """Its own certificate and key."""
        return KeyPair(self._certificate.public_bytes(serialization.Encoding.PEM), self._key.pem)

    def issue(self, name: str, subject: Subject) -> KeyPair:
        """A certificate of a server, where the subject has hosts, else of a client; `name` names its key."""
        own = key(self._secret, f"{self._name}/{name}")
        builder = _builder(self._secret, subject, self._subject, own)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(authority=False), critical=True)
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([SERVER if subject.hosts else CLIENT]), critical=False
        )
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.private.public_key())
        builder = builder.add_extension(above, critical=False)
        if subject.hosts:
            names = x509.SubjectAlternativeName([_host(host) for host in subject.hosts])
            builder = builder.add_extension(names, critical=False)
        return KeyPair(_signed(builder, self._key).public_bytes(serialization.Encoding.PEM), own.pem)


def _builder(secret: Secret, subject: Subject, issuer: Subject, own: Key) -> x509.CertificateBuilder:
    """The serial number is made of what is certified: what differs has another one."""
    about = hashlib.sha256(repr((subject, issuer, own.public_pem, secret.year)).encode()).digest()
    begin = datetime.datetime(secret.year, 1, 1, tzinfo=datetime.UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(own.private.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject.x509)
        .issuer_name(issuer.x509)
        .public_key(own.private.public_key())
        .serial_number(int.from_bytes(about[:16]) or 1)
        .not_valid_before(begin)
        .not_valid_after(begin.replace(year=secret.year + YEARS))
        .add_extension(identifier, critical=False)
    )


def _signed(builder: x509.CertificateBuilder, authority: Key) -> x509.Certificate:
    return builder.sign(authority.private, hashes.SHA256(), ecdsa_deterministic=True)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=authority, crl_sign=authority, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
