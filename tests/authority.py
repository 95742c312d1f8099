"""A time stamping authority of the tests' own: certificates, tokens with any field as wished, a server on loopback that can misbehave."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.asn1 import TLV, Null, SetOf, decode_der, encode_der
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from anchoring import token as der

POLICY = "1.3.6.1.4.1.99999.1"
OTHER_HASHES = {"sha1": ("1.3.14.3.2.26", hashes.SHA1), "sha512": (der.SHA512.dotted_string, hashes.SHA512)}
ECDSA_SHA256 = x509.ObjectIdentifier("1.2.840.10045.4.3.2")
RSA_ENCRYPTION = x509.ObjectIdentifier("1.2.840.113549.1.1.1")


@asn1.sequence
class Octets:
    value: bytes


@asn1.sequence
class Identifier:
    value: x509.ObjectIdentifier


def now() -> datetime:
    return datetime.now(UTC)


def key():
    return ec.generate_private_key(ec.SECP256R1())


def certificate(name: str, public, issuer: str, issuer_key, *, ca: bool = False, usage=ExtendedKeyUsageOID.TIME_STAMPING,
                more=(), critical: bool = True, start: datetime | None = None, days: float = 30, digest=None) -> x509.Certificate:
    """A certificate; one of a TSA unless `ca`."""
    start = start or now() - timedelta(days=1)
    builder = (
        x509.CertificateBuilder().subject_name(_name(name)).issuer_name(_name(issuer)).public_key(public)
        .serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(start + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if not ca and usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage, *more]), critical=critical)
    return builder.sign(issuer_key, digest or hashes.SHA256())


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Authority:
    """A CA and a TSA under it. `answer` makes what the TSA answers; keywords bend it."""

    def __init__(self, *, name: str = "Test", rsa_key: bool = False, self_signed: bool = False, **certified) -> None:
        self.root_key = key()
        self.root = certificate(f"{name} root", self.root_key.public_key(), f"{name} root", self.root_key, ca=True, days=3650,
                                start=now() - timedelta(days=900))  # fmt: skip
        self.key = rsa.generate_private_key(65537, 2048) if rsa_key else key()
        issuer, issuer_key = (f"{name} TSA", self.key) if self_signed else (f"{name} root", self.root_key)
        self.certificate = certificate(f"{name} TSA", self.key.public_key(), issuer, issuer_key, **certified)
        self.serial = 0

    def pem(self, path: Path) -> Path:
        """The root certificate in a file."""
        path.write_bytes(self.root.public_bytes(Encoding.PEM))
        return path

    def token(self, digest: bytes, **bent) -> bytes:
        """A token over a digest."""
        answer = decode_der(der.Answer, self.answer(der.encode_request(digest, 1), **bent))
        return encode_der(answer.token)

    def answer(self, request: bytes, *, status: int = 0, time: datetime | None = None, imprint_hash=der.SHA256, digest: bytes | None = None,
               nonce: int | None = None, policy: str = POLICY, version: int = 1, accuracy=None, ordering: bool = False, critical=False,
               signer_hash: str = "sha256", content: x509.ObjectIdentifier = der.TST_INFO, certificates=None, attributes=None,
               signing_key=None, ess: str = "v2", ess_of: x509.Certificate | None = None, signed_digest: bytes | None = None,
               signers: int = 1) -> bytes:
        """The DER answer to a DER request."""
        if status > 1:
            return encode_der(der.Answer(status=der.Status(status=status, text=["no"], failure=None), token=None))
        asked = decode_der(der.Request, request)
        self.serial += 1
        info = encode_der(der.Info(
            version=version, policy=x509.ObjectIdentifier(policy),
            imprint=der.Imprint(algorithm=der.Algorithm(oid=imprint_hash, parameters=None), digest=digest or asked.imprint.digest),
            serial=self.serial, time=asn1.GeneralizedTime(time or now().replace(microsecond=250_000)),
            accuracy=accuracy, ordering=ordering, nonce=asked.nonce if nonce is None else nonce, tsa=None,
            extensions=[der.Extension(oid=x509.ObjectIdentifier("1.2.3"), critical=True, value=b"")] if critical else None,
        ))  # fmt: skip
        oid, algorithm = OTHER_HASHES.get(signer_hash, (der.SHA256.dotted_string, hashes.SHA256))
        named = ess_of or self.certificate
        hasher = hashes.Hash(algorithm())
        hasher.update(info)
        listed = [
            _attribute("1.2.840.113549.1.9.3", _tlv(Identifier(value=der.TST_INFO))),
            _attribute("1.2.840.113549.1.9.4", _tlv(Octets(value=signed_digest or hasher.finalize()))),
            *_ess(ess, named),
        ]
        signed = SetOf(sorted(attributes(listed) if attributes else listed, key=encode_der))
        signature = self._sign(signing_key or self.key, encode_der(signed), algorithm())
        issuer = _raw(self.certificate.issuer.public_bytes())
        signer = der.Signer(
            version=1, signer=der.IssuerAndSerial(issuer=issuer, serial=self.certificate.serial_number),
            digest=der.Algorithm(oid=x509.ObjectIdentifier(oid), parameters=None), signed=signed,
            algorithm=_raw(encode_der(der.Algorithm(oid=RSA_ENCRYPTION, parameters=Null()) if isinstance(self.key, rsa.RSAPrivateKey)
                                      else der.Algorithm(oid=ECDSA_SHA256, parameters=None))),
            signature=signature, unsigned=None,
        )  # fmt: skip
        data = der.SignedData(
            version=3, digests=SetOf([der.Algorithm(oid=x509.ObjectIdentifier(oid), parameters=None)]),
            content=der.Content(oid=content, octets=info), certificates=[self.certificate] if certificates is None else certificates,
            crls=None, signers=SetOf([signer] * signers),
        )  # fmt: skip
        token = der.Token(oid=der.SIGNED_DATA, signed=data)
        return encode_der(der.Answer(status=der.Status(status=status, text=None, failure=None), token=token))

    @staticmethod
    def _sign(secret, data: bytes, algorithm) -> bytes:
        if isinstance(secret, rsa.RSAPrivateKey):
            return secret.sign(data, padding.PKCS1v15(), algorithm)
        return secret.sign(data, ec.ECDSA(algorithm))


@asn1.sequence
class _One:
    value: TLV


def _raw(data: bytes) -> TLV:
    """Bytes that are DER already, as a value in another structure."""
    return decode_der(_One, b"\x30\x82" + len(data).to_bytes(2, "big") + data if len(data) > 255 else _short(data)).value


def _short(data: bytes) -> bytes:
    return (bytes([0x30, len(data)]) if len(data) < 128 else bytes([0x30, 0x81, len(data)])) + data


def _tlv(sequence: object) -> TLV:
    """The one value in a sequence."""
    return decode_der(_One, encode_der(sequence)).value


def _attribute(oid: str, value: TLV) -> der.Attribute:
    return der.Attribute(oid=x509.ObjectIdentifier(oid), values=SetOf([value]))


def _ess(kind: str, named: x509.Certificate) -> list[der.Attribute]:
    if kind == "none":
        return []
    digest = named.fingerprint(hashes.SHA1() if kind == "v1" else hashes.SHA256())  # noqa: S303 - RFC 2634 knows no other
    content = der.SigningCertificate(certificates=[der.CertificateId(algorithm=None, digest=digest, issuer=None)], policies=None)
    return [_attribute("1.2.840.113549.1.9.16.2.12" if kind == "v1" else "1.2.840.113549.1.9.16.2.47", _raw(encode_der(content)))]


HEAD = b"HTTP/1.1 200 OK\r\n"
Behaviour = Callable[[BaseHTTPRequestHandler, bytes], None]


class Tsa:
    """A server on loopback. `behave` may be replaced at any time; `asked` holds the requests' bodies and headers."""

    def __init__(self, behave: Behaviour, port: int = 0) -> None:
        self.behave, self.asked = behave, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                outer.asked.append((body, dict(self.headers), self.path))
                outer.behave(self, body)

            do_GET = do_POST  # noqa: N815 - the server's name for it

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address) -> None:
                pass  # a client that hangs up is what some tests are about

        self.server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/tsr"

    def start(self) -> None:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def serving(behave: Behaviour):
    tsa = Tsa(behave)
    tsa.start()
    try:
        yield tsa
    finally:
        tsa.stop()


def replies(make: Callable[[bytes], bytes], status: int = 200, **headers: str) -> Behaviour:
    """A behaviour that answers with what `make` makes of the request."""

    def behave(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        answer = make(body)
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Type", "application/timestamp-reply")
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)

    return behave


def raw(*pieces: bytes, pause: float = 0.0, endless: bytes = b""):
    """A behaviour that sends bytes as they are, and then `endless` again and again."""

    def behave(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        handler.close_connection = True
        for piece in pieces:
            handler.wfile.write(piece)
            handler.wfile.flush()
            time.sleep(pause)
        while endless:
            handler.wfile.write(endless)
            handler.wfile.flush()
            time.sleep(pause)

    return behave
