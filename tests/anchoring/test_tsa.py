"""Asking a TSA: bounded in time and size, whatever it does."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from datetime import timedelta
from ipaddress import ip_address

import pytest
from authority import HEAD, Authority, Tsa, now, raw, replies, serving
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from anchoring.errors import AnchoringError, TsaUnavailable
from anchoring.token import MAX_BYTES, encode_request
from anchoring.tsa import ask, check_url

REQUEST = encode_request(bytes(32), 7)


def unavailable(url: str, words: str, seconds: float = 5.0) -> None:
    start = time.monotonic()
    with pytest.raises(TsaUnavailable) as caught:
        ask(url, REQUEST, seconds)
    assert words in str(caught.value) and "\n" not in str(caught.value), caught.value
    assert time.monotonic() - start < seconds + 1


def test_the_request_holds_a_digest_and_a_nonce_and_nothing_else():
    with serving(replies(lambda body: b"answer")) as tsa:
        assert ask(tsa.url + "/x?y=1", REQUEST) == b"answer"
    ((body, headers, path),) = tsa.asked
    assert body == REQUEST and path == "/tsr/x?y=1" and len(body) < 64
    assert headers == {
        "Host": tsa.url.split("/")[2], "Accept-Encoding": "identity", "Content-Type": "application/timestamp-query",
        "Accept": "application/timestamp-reply", "Content-Length": str(len(REQUEST)),
    }  # fmt: skip


@pytest.mark.parametrize("status", [201, 204, 400, 401, 404, 429, 500, 503])
def test_an_http_error_is_no_answer(status):
    with serving(replies(lambda body: b"", status)) as tsa:
        unavailable(tsa.url, f"it answers with an error (HTTP {status})")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status):
    with serving(replies(lambda body: b"elsewhere")) as other:
        with serving(replies(lambda body: b"", status, Location=other.url)) as tsa:
            unavailable(tsa.url, f"it leads elsewhere, which is not followed (HTTP {status})")
        assert other.asked == []


@pytest.mark.parametrize("behave", [
    replies(lambda body: bytes(MAX_BYTES + 1)), replies(lambda body: bytes(20_000_000)),
    raw(HEAD + b"\r\n", endless=bytes(10_000)),
    raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", endless=b"1000\r\n" + bytes(4096) + b"\r\n"),
    raw(HEAD + b"Content-Length: 999999999999\r\n\r\n", endless=bytes(10_000)),
], ids=["one more", "much more", "endless", "endless chunks", "a great length"])  # fmt: skip
def test_an_oversized_answer_is_cut_off(behave):
    with serving(behave) as tsa:
        unavailable(tsa.url, f"its answer has more than {MAX_BYTES} bytes")


def test_the_largest_answer_is_taken():
    with serving(replies(lambda body: bytes(MAX_BYTES))) as tsa:
        assert ask(tsa.url, REQUEST) == bytes(MAX_BYTES)


@pytest.mark.parametrize("behave", [
    raw(endless=b""), raw(pause=20), raw(b"H", endless=b"T", pause=0.05), raw(HEAD, endless=b"X-A: b\r\n", pause=0.05),
    raw(endless=b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.01), raw(HEAD + b"\r\n", endless=b"x", pause=0.05),
], ids=["hangs up", "silent", "drips its status", "drips headers", "says continue", "drips its answer"])  # fmt: skip
def test_a_slow_tsa_is_left_at_the_deadline(behave):
    with serving(behave) as tsa:
        start = time.monotonic()
        with pytest.raises(TsaUnavailable) as caught:
            ask(tsa.url, REQUEST, 0.6)
        assert time.monotonic() - start < 1.5 and str(caught.value) in {"no answer within 1 s", "it speaks no HTTP"} | UNREACHED


UNREACHED = {f"it cannot be reached: {words}" for words in ("it broke off", "Connection reset by peer")}


def test_a_server_that_accepts_and_says_nothing_is_left_at_the_deadline():
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        port = deaf.getsockname()[1]
        unavailable(f"http://127.0.0.1:{port}/", "no answer within 0 s", 0.4)
        unavailable(f"https://127.0.0.1:{port}/", "no answer within 0 s", 0.4)
    unavailable(f"http://127.0.0.1:{port}/", "it cannot be reached: Connection refused")
    unavailable("http://nowhere.invalid/", "it cannot be reached: ")


@pytest.mark.parametrize("said", [
    b"SSH-2.0-OpenSSH\r\n", b"HTTP/9.9 x\r\n\r\n", b"\xff" * 70_000, HEAD + b"X: y\r\n" * 200 + b"\r\n",
], ids=["another protocol", "no status", "noise", "many headers"])  # fmt: skip
def test_what_is_no_http_is_no_answer(said):
    with serving(raw(said)) as tsa:
        unavailable(tsa.url, "it speaks no HTTP")


def test_no_thread_and_no_connection_stays_behind():
    before = threading.active_count()
    with serving(replies(lambda body: b"answer")) as tsa:
        for _ in range(20):
            ask(tsa.url, REQUEST)
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before


def test_https_is_used_where_its_certificate_is_trusted(tmp_path, monkeypatch):
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    own = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(secret.public_key()).serial_number(5)
        .not_valid_before(now() - timedelta(days=1)).not_valid_after(now() + timedelta(days=1)).add_extension(names, False)
        .sign(secret, hashes.SHA256())
    )  # fmt: skip
    (tmp_path / "cert.pem").write_bytes(own.public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    tsa = Tsa(replies(lambda body: b"answer"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    tsa.server.socket = context.wrap_socket(tsa.server.socket, server_side=True)
    tsa.start()
    try:
        url = tsa.url.replace("http:", "https:")
        unavailable(url, "its TLS certificate is not trusted")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        assert ask(url, REQUEST) == b"answer" and tsa.asked[0][0] == REQUEST
        unavailable(url.replace("127.0.0.1", "localhost"), "its TLS certificate is not trusted")
    finally:
        tsa.stop()
    with serving(replies(lambda body: b"answer")) as plain:
        unavailable(plain.url.replace("http:", "https:"), "it speaks no TLS")


@pytest.mark.parametrize("url", [
    "", "tsa.example.com", "ftp://tsa.example.com/", "file:///etc/passwd", "http://", "http:///tsr", "http://h:99999/", "http://h:0/", "http://h:x/",
    "http://h/ x", "http://h/\nx", "http://h/\u4e2d", "http://[::1/", "http://h/" + "a" * 500,
])  # fmt: skip
def test_what_is_no_address_of_a_tsa_is_refused(url):
    with pytest.raises(AnchoringError, match="a TSA is named by its address"):
        check_url(url)


@pytest.mark.parametrize("url", ["http://user@h/", "https://user:secret@h/", "http://:secret@h/", "http://h/#part"])
def test_an_address_with_a_secret_is_refused_without_repeating_it(url):
    with pytest.raises(AnchoringError, match="must hold no user") as caught:
        check_url(url)
    assert "secret" not in str(caught.value)


def test_addresses_of_usual_tsas_are_taken():
    for url in ("http://timestamp.digicert.com", "https://freetsa.org/tsr", "http://10.0.0.7:3161/tsa?policy=1", "http://[::1]:318/"):
        check_url(url)


def test_an_authority_of_the_tests_answers_what_was_asked():
    authority = Authority()
    with serving(replies(authority.answer)) as tsa:
        assert len(ask(tsa.url, REQUEST)) < 2000
