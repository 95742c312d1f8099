"""Time stamps (RFC 3161): what a token of a TSA proves of a digest, decided offline. No network, no database, no web3.

A token is decoded strictly and checked link by link; that its certificates lead to a trusted root is for rfc3161-client, with
OpenSSL, to say. The same checks, without a root, are made when a token is obtained.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.asn1 import TLV, encode_der
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID
from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

from anchoring import token as der
from anchoring.errors import AnchoringError, TimestampInvalid
from anchoring.token import Info, Oid, Signer, Token

_HASHES: dict[Oid, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    der.SHA256: hashes.SHA256,
    der.SHA384: hashes.SHA384,
    der.SHA512: hashes.SHA512,
}
_CONTENT_TYPE, _MESSAGE_DIGEST = Oid("1.2.840.113549.1.9.3"), Oid("1.2.840.113549.1.9.4")
_SIGNING_CERTIFICATE, _SIGNING_CERTIFICATE_V2 = Oid("1.2.840.113549.1.9.16.2.12"), Oid("1.2.840.113549.1.9.16.2.47")
_MAX_CERTIFICATES = 16
_MAX_PEM = 1 << 20
_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a TSA says: the digest existed at `time`, UTC, give or take `accuracy`. Of two stamps of one TSA with `ordering` the one with
    the earlier time was made first, whatever the accuracy. `policy` is a dotted OID, `tsa` the subject of the certificate that signed.
    """

    time: datetime
    accuracy: timedelta
    ordering: bool
    policy: str
    serial: int
    tsa: str


def verify_timestamp(token: bytes, digest: bytes, roots: Sequence[x509.Certificate], *, policy: str | None = None) -> Stamp:
    """What a DER token proves of a SHA-256 digest, where one of `roots`, self-signed certificates, is trusted.

    Raises TimestampInvalid that names the first broken link: token, imprint, policy (where one is demanded), signature, usage (the
    signer's certificate is for time stamping, critically, and for nothing else), validity (of that certificate at the stamped time),
    certificate (its chain to a root, every part of it valid at that time). Certificates are not asked for whether they were revoked.
    """
    with _quiet():
        decoded = der.decode_token(token)
        stamp = _examine(decoded, digest, policy=policy)
        _lead_to_root(decoded, digest, roots)
        return stamp


def read_roots(paths: Sequence[Path]) -> tuple[x509.Certificate, ...]:
    """The certificates in PEM files. AnchoringError where a file cannot be read, or holds none."""
    roots: list[x509.Certificate] = []
    for path in paths:
        try:
            with path.open("rb") as file, _quiet():
                roots += x509.load_pem_x509_certificates(file.read(_MAX_PEM))
        except OSError as error:
            raise AnchoringError(f"cannot read the certificates {path}: {error.strerror}") from error
        except ValueError as error:
            raise AnchoringError(f"{path} holds no certificates in PEM: give the root certificate of the TSA") from error
    return tuple(roots)


def read_stamp(token: bytes, digest: bytes) -> Stamp:
    """What a token says, whoever made it: everything but its certificate's chain is checked. TimestampInvalid as above."""
    with _quiet():
        return _examine(der.decode_token(token), digest)


def accept_answer(answer: bytes, digest: bytes, nonce: int) -> tuple[bytes, Stamp]:
    """The DER token in a TSA's answer to a request for this digest and nonce, and what it says.

    Raises TimestampInvalid with the links status and nonce, and those of `verify_timestamp` but certificate: no root is known here.
    """
    with _quiet():
        decoded = der.decode_answer(answer)
        if decoded.status.status != 0 or decoded.token is None:
            raise TimestampInvalid("status", f"the TSA refused to stamp, with status {decoded.status.status}")
        return encode_der(decoded.token), _examine(decoded.token, digest, nonce=nonce)


@contextmanager
def _quiet() -> Iterator[None]:
    """Odd certificates make cryptography warn on standard error; whether they count is decided here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        yield


def _examine(token: Token, digest: bytes, *, nonce: int | None = None, policy: str | None = None) -> Stamp:
    info = der.decode_info(token)
    if info.imprint.algorithm.oid != der.SHA256:
        raise TimestampInvalid("imprint", "the stamped digest is not one of SHA-256")
    if info.imprint.digest != digest:
        raise TimestampInvalid("imprint", f"it stamps {info.imprint.digest[:32].hex()}, not {digest.hex()}")
    if nonce is not None and info.nonce != nonce:
        raise TimestampInvalid("nonce", "the answer belongs to another request")
    if policy is not None and info.policy.dotted_string != policy:
        raise TimestampInvalid("policy", f"it was made under {info.policy.dotted_string}, not {policy}")
    stamp_time, accuracy = info.time.as_datetime().astimezone(UTC), _accuracy(info)
    certificate = _signed_by(token)
    _for_time_stamping(certificate)
    if not certificate.not_valid_before_utc <= stamp_time <= certificate.not_valid_after_utc:
        raise TimestampInvalid("validity", f"the TSA's certificate was not valid at {stamp_time:%Y-%m-%dT%H:%M:%SZ}")
    return Stamp(stamp_time, accuracy, info.ordering, info.policy.dotted_string, info.serial, _shown(certificate.subject))


def _shown(name: x509.Name) -> str:
    """A name for people, in one line: who made the certificate may not be known, nor what a terminal would do with what he wrote."""
    text = name.rfc4514_string()
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_MAX_NAME])


def _accuracy(info: Info) -> timedelta:
    """RFC 3161, section 2.4.2: what is not given counts as zero."""
    if info.accuracy is None:
        return timedelta()
    seconds, millis, micros = info.accuracy.seconds or 0, info.accuracy.millis or 0, info.accuracy.micros or 0
    if not 0 <= seconds < 1 << 31 or not 0 <= millis < 1000 or not 0 <= micros < 1000:
        raise TimestampInvalid("token", "its accuracy is out of bounds")
    return timedelta(seconds=seconds, milliseconds=millis, microseconds=micros)


def _signed_by(token: Token) -> x509.Certificate:
    """The certificate whose key signed the token. TimestampInvalid("signature") where none did."""
    signers, certificates = token.signed.signers.as_list(), token.signed.certificates or []
    if len(signers) != 1:
        raise TimestampInvalid("signature", f"{len(signers)} signatures, where one is due")
    if len(certificates) > _MAX_CERTIFICATES:
        raise TimestampInvalid("signature", f"more than {_MAX_CERTIFICATES} certificates")
    signer = signers[0]
    found = [one for one in certificates if one.serial_number == signer.signer.serial and _names_issuer(signer, one)]
    if not found:
        raise TimestampInvalid("signature", "the certificate of its signer is not in it")
    _check_signature(token, signer, found[0])
    return found[0]


def _names_issuer(signer: Signer, certificate: x509.Certificate) -> bool:
    return encode_der(signer.signer.issuer) == certificate.issuer.public_bytes()


def _check_signature(token: Token, signer: Signer, certificate: x509.Certificate) -> None:
    """RFC 5652, section 5.4, and RFC 5035: the signed attributes hold the content's digest and name the signer's certificate."""
    algorithm = _HASHES.get(signer.digest.oid)
    if algorithm is None:
        raise TimestampInvalid("signature", f"its hash algorithm {signer.digest.oid.dotted_string} is not accepted: SHA-256, 384 or 512 is")
    attributes = {}
    for attribute in signer.signed.as_list():
        values = attribute.values.as_list()
        if len(values) != 1 or attribute.oid in attributes:
            raise TimestampInvalid("signature", "a signed attribute is not single")
        attributes[attribute.oid] = values[0]
    digest = hashes.Hash(algorithm())
    digest.update(token.signed.content.octets)
    if _value(attributes.get(_MESSAGE_DIGEST), bytes) != digest.finalize():
        raise TimestampInvalid("signature", "its content is not the one that was signed")
    if _value(attributes.get(_CONTENT_TYPE), Oid) != der.TST_INFO:
        raise TimestampInvalid("signature", "what was signed is no time stamp")
    try:
        _verify(certificate, signer.signature, encode_der(signer.signed), algorithm())
    except (InvalidSignature, UnsupportedAlgorithm, ValueError) as error:
        raise TimestampInvalid("signature", "it was not made by the key of the TSA's certificate") from error
    _names_certificate(attributes, certificate)


def _value(attribute: TLV | None, kind: type[object]) -> object:
    try:
        return None if attribute is None else attribute.parse(kind)
    except ValueError:
        return None


def _verify(certificate: x509.Certificate, signature: bytes, signed: bytes, algorithm: hashes.HashAlgorithm) -> None:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        key.verify(signature, signed, padding.PKCS1v15(), algorithm)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, signed, ec.ECDSA(algorithm))
    else:
        raise TimestampInvalid("signature", "the TSA's key is neither RSA of 2048 bits or more nor on an elliptic curve")


def _names_certificate(attributes: dict[Oid, TLV], certificate: x509.Certificate) -> None:
    """The signed attribute of RFC 5035, or the older one of RFC 2634, whose digest is SHA-1, must name this very certificate."""
    newer, older = attributes.get(_SIGNING_CERTIFICATE_V2), attributes.get(_SIGNING_CERTIFICATE)
    attribute = newer or older
    identified = [] if attribute is None else der.certificate_ids(attribute)
    if not identified:
        raise TimestampInvalid("signature", "it does not name its signer's certificate")
    named = identified[0]
    if newer is None:
        same = named.digest == sha1(certificate.public_bytes(Encoding.DER), usedforsecurity=False).digest()
    else:
        algorithm = _HASHES.get(named.algorithm.oid if named.algorithm else der.SHA256)
        same = algorithm is not None and named.digest == certificate.fingerprint(algorithm())
    if not same:
        raise TimestampInvalid("signature", "it names another certificate than its signer's")


def _for_time_stamping(certificate: x509.Certificate) -> None:
    """RFC 3161, section 2.3: one extended key usage, timeStamping, and critical."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError) as error:
        raise TimestampInvalid("usage", "the TSA's certificate is not for time stamping") from error
    if not usage.critical or list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise TimestampInvalid("usage", "the TSA's certificate is not for time stamping alone, marked critical")


def _lead_to_root(token: Token, digest: bytes, roots: Sequence[x509.Certificate]) -> None:
    if not roots:
        raise TimestampInvalid("certificate", "no certificate is trusted")
    for certificate in token.signed.certificates or []:
        if certificate not in roots and not _is_strong(certificate):
            raise TimestampInvalid("certificate", "a certificate is not signed with SHA-256, 384 or 512")
    try:
        VerifierBuilder(roots=list(roots)).build().verify(decode_timestamp_response(der.granted(token)), digest)
    except (VerificationError, ValueError) as error:
        raise TimestampInvalid("certificate", "the TSA's certificate does not lead to a trusted one that was valid at the time") from error


def _is_strong(certificate: x509.Certificate) -> bool:
    try:
        return isinstance(certificate.signature_hash_algorithm, tuple(_HASHES.values()))
    except UnsupportedAlgorithm:
        return False
