"""The DER of RFC 3161: requests, answers, and the time stamp tokens in them (CMS SignedData, RFC 5652, around a TSTInfo)."""

from __future__ import annotations

from typing import Annotated, TypeVar

from cryptography import x509
from cryptography.hazmat.asn1 import (
    TLV,
    BitString,
    Default,
    Explicit,
    GeneralizedTime,
    Implicit,
    Null,
    SetOf,
    decode_der,
    encode_der,
    sequence,
)
from cryptography.hazmat.primitives.serialization import Encoding

from anchoring.errors import TimestampInvalid

MAX_BYTES = 1 << 16  # of an answer, and of a token; those of public TSAs have 1 to 8 KiB
Oid = x509.ObjectIdentifier
SHA256, SHA384, SHA512 = (Oid(f"2.16.840.1.101.3.4.2.{number}") for number in (1, 2, 3))
SIGNED_DATA = Oid("1.2.840.113549.1.7.2")
TST_INFO = Oid("1.2.840.113549.1.9.16.1.4")


@sequence
class Algorithm:
    oid: Oid
    parameters: Null | None


@sequence
class Imprint:
    algorithm: Algorithm
    digest: bytes


@sequence
class Request:
    """RFC 3161, section 2.4.1, without policy and extensions."""

    version: int
    imprint: Imprint
    nonce: int
    certificates: Annotated[bool, Default(False)]


@sequence
class Accuracy:
    seconds: int | None
    millis: Annotated[int | None, Implicit(0)]
    micros: Annotated[int | None, Implicit(1)]


@sequence
class Extension:
    oid: Oid
    critical: Annotated[bool, Default(False)]
    value: bytes


@sequence
class Info:
    """TSTInfo, section 2.4.2: what the TSA signs."""

    version: int
    policy: Oid
    imprint: Imprint
    serial: int
    time: GeneralizedTime
    accuracy: Accuracy | None
    ordering: Annotated[bool, Default(False)]
    nonce: int | None
    tsa: Annotated[list[TLV] | None, Implicit(0)]  # EXPLICIT GeneralName: the same bytes as a list of one
    extensions: Annotated[list[Extension] | None, Implicit(1)]


@sequence
class Attribute:
    oid: Oid
    values: SetOf[TLV]


@sequence
class IssuerAndSerial:
    issuer: TLV
    serial: int


@sequence
class Signer:
    version: int
    signer: IssuerAndSerial
    digest: Algorithm
    signed: Annotated[SetOf[Attribute], Implicit(0)]
    algorithm: TLV
    signature: bytes
    unsigned: Annotated[list[TLV] | None, Implicit(1)]


@sequence
class Content:
    oid: Oid
    octets: Annotated[bytes, Explicit(0)]


@sequence
class SignedData:
    version: int
    digests: SetOf[Algorithm]
    content: Content
    certificates: Annotated[list[x509.Certificate] | None, Implicit(0)]  # a SET, though many TSAs do not sort it
    crls: Annotated[list[TLV] | None, Implicit(1)]
    signers: SetOf[Signer]


@sequence
class Token:
    oid: Oid
    signed: Annotated[SignedData, Explicit(0)]


@sequence
class Status:
    status: int
    text: list[str] | None
    failure: BitString | None


@sequence
class Answer:
    status: Status
    token: Token | None


@sequence
class CertificateId:
    """ESSCertID and ESSCertIDv2 (RFC 5035) begin alike; the algorithm is there in the second where it is not SHA-256."""

    algorithm: Algorithm | None
    digest: bytes
    issuer: list[TLV] | None


@sequence
class SigningCertificate:
    certificates: list[CertificateId]
    policies: list[TLV] | None


T = TypeVar("T")


def _decode(kind: type[T], data: bytes, otherwise: str) -> T:
    if len(data) > MAX_BYTES:
        raise TimestampInvalid("token", f"larger than {MAX_BYTES} bytes")
    try:
        return decode_der(kind, data)
    except (ValueError, OverflowError, x509.InvalidVersion) as error:
        raise TimestampInvalid("token", otherwise) from error


def encode_request(digest: bytes, nonce: int) -> bytes:
    """A request to stamp a SHA-256 digest, with the TSA's certificates in the answer."""
    imprint = Imprint(algorithm=Algorithm(oid=SHA256, parameters=Null()), digest=digest)
    return encode_der(Request(version=1, imprint=imprint, nonce=nonce, certificates=True))


def decode_answer(data: bytes) -> Answer:
    """An answer. TimestampInvalid("token") where it is none, or has more than MAX_BYTES."""
    answer = _decode(Answer, data, "the answer is no time stamp response")
    if answer.token is not None:
        _sort(answer.token)
    return answer


def decode_token(data: bytes) -> Token:
    """A token. TimestampInvalid("token") where it is none, or has more than MAX_BYTES."""
    token = _decode(Token, data, "this is no time stamp token")
    _sort(token)
    return token


def decode_info(token: Token) -> Info:
    """What the token says. TimestampInvalid("token") where its content is no TSTInfo of version 1, or asks for more than is known here."""
    if token.oid != SIGNED_DATA or token.signed.content.oid != TST_INFO:
        raise TimestampInvalid("token", "it holds no time stamp")
    info = _decode(Info, token.signed.content.octets, "its content is no time stamp")
    if info.version != 1:
        raise TimestampInvalid("token", f"version {info.version} of a time stamp is not known")
    if any(extension.critical for extension in info.extensions or ()):
        raise TimestampInvalid("token", "it has a critical extension that is not known")
    return info


def granted(token: Token) -> bytes:
    """The answer that carries a token, as rfc3161-client reads it."""
    return encode_der(Answer(status=Status(status=0, text=None, failure=None), token=token))


def _sort(token: Token) -> None:
    """Bring the certificates into the order that DER demands of a set; they are not signed, and rfc3161-client reads nothing else."""
    certificates = token.signed.certificates or []
    try:
        for certificate in certificates:
            # cryptography reads names when they are asked for.
            certificate.issuer, certificate.subject  # noqa: B018
    except ValueError as error:
        raise TimestampInvalid("token", "a certificate in it is damaged") from error
    certificates.sort(key=lambda certificate: certificate.public_bytes(Encoding.DER))


def certificate_ids(attribute: TLV) -> list[CertificateId]:
    """What an attribute SigningCertificate or SigningCertificateV2 names. TimestampInvalid("token") where it is none."""
    try:
        return list(attribute.parse(SigningCertificate).certificates)
    except ValueError as error:
        raise TimestampInvalid("token", "it does not name its signer's certificate") from error
