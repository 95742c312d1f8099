"""Tokens of TSAs: what holds, and every way in which one does not, by the name of the broken link."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from authority import POLICY, Authority, certificate, key, now
from cryptography import x509
from cryptography.hazmat.asn1 import GeneralizedTime, SetOf, decode_der, encode_der
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from anchoring import token as der
from anchoring.errors import AnchoringError, TimestampInvalid
from anchoring.timestamp import accept_answer, read_roots, read_stamp, verify_timestamp

DIGEST = sha256(b"a signed receipt").digest()


@pytest.fixture(scope="module")
def tsa():
    return Authority()


@pytest.fixture(scope="module")
def strangers():
    return Authority(name="Stranger")


def broken(link: str, token: bytes, roots, words: str = "", digest: bytes = DIGEST, **demanded) -> None:
    with pytest.raises(TimestampInvalid) as caught:
        verify_timestamp(token, digest, roots, **demanded)
    text = str(caught.value)
    assert caught.value.link == link and text.startswith(f"{link}: ") and words in text and "\n" not in text and len(text) < 300, text


def _words(value: object) -> str:
    """A test's id: every worker of pytest-xdist must make the same."""
    return value if isinstance(value, str) else ""


# What holds


def test_a_valid_stamp_gives_time_accuracy_ordering_policy_and_signer(tsa):
    moment = datetime(2026, 3, 4, 5, 6, 7, 891_000, tzinfo=UTC)
    old = Authority(name="Old", start=moment - timedelta(days=3), days=10)
    accuracy = der.Accuracy(seconds=1, millis=500, micros=20)
    stamp = verify_timestamp(old.token(DIGEST, time=moment, accuracy=accuracy, ordering=True), DIGEST, [tsa.root, old.root], policy=POLICY)
    assert (stamp.time, stamp.accuracy, stamp.ordering) == (moment, timedelta(seconds=1, milliseconds=500, microseconds=20), True)
    assert (stamp.policy, stamp.serial, stamp.tsa) == (POLICY, 1, "CN=Old TSA")
    plain = verify_timestamp(tsa.token(DIGEST), DIGEST, [tsa.root])
    assert (plain.accuracy, plain.ordering) == (timedelta(), False)


def test_a_stamp_outlives_the_certificate_that_was_valid_when_it_was_made():
    expired = Authority(start=now() - timedelta(days=400), days=90)
    at = now() - timedelta(days=350)
    assert verify_timestamp(expired.token(DIGEST, time=at), DIGEST, [expired.root]).time == at


@pytest.mark.parametrize("bent", [{"rsa_key": True}, {"digest": hashes.SHA512()}], ids=["RSA", "ECDSA"])
@pytest.mark.parametrize("minted", [{}, {"signer_hash": "sha512"}, {"ess": "v1"}], ids=str)
def test_usual_keys_hashes_and_signed_attributes_are_accepted(bent, minted):
    authority = Authority(**bent)
    token = authority.token(DIGEST, **minted)
    assert verify_timestamp(token, DIGEST, [authority.root]).tsa == read_stamp(token, DIGEST).tsa == "CN=Test TSA"


def test_an_intermediate_certificate_may_come_with_the_token_or_with_the_roots():
    tsa = Authority()
    middle_key = key()
    middle = certificate("Middle", middle_key.public_key(), "Test root", tsa.root_key, ca=True)
    tsa.certificate = certificate("Test TSA", tsa.key.public_key(), "Middle", middle_key)
    whole = tsa.token(DIGEST, certificates=[tsa.certificate, middle])
    assert verify_timestamp(whole, DIGEST, [tsa.root]) and verify_timestamp(tsa.token(DIGEST), DIGEST, [tsa.root, middle])
    broken("certificate", tsa.token(DIGEST), [tsa.root])
    broken("certificate", whole, [middle], "does not lead to a trusted one")


def test_certificates_in_any_order_are_read():
    tsa = Authority()
    for order in ([tsa.certificate, tsa.root], [tsa.root, tsa.certificate]):
        answer = tsa.answer(der.encode_request(DIGEST, 5), certificates=order)
        token, _stamp = accept_answer(answer, DIGEST, 5)
        assert verify_timestamp(token, DIGEST, [tsa.root])
        assert verify_timestamp(tsa.token(DIGEST, certificates=order), DIGEST, [tsa.root])


def test_a_name_made_to_trouble_a_terminal_is_shown_in_one_plain_line(tsa):
    odd = Authority(name="医院\n\x1b[2J" + "x" * 20)
    assert verify_timestamp(odd.token(DIGEST), DIGEST, [odd.root]).tsa == "CN=医院??[2J" + "x" * 20 + " TSA"


# What does not


def test_a_token_of_another_digest_is_refused(tsa):
    broken("imprint", tsa.token(sha256(b"another").digest()), [tsa.root], "not " + DIGEST.hex())
    broken("imprint", tsa.token(DIGEST), [tsa.root], digest=bytes(32))


@pytest.mark.parametrize("oid", ["1.3.14.3.2.26", "1.2.840.113549.2.5", "2.16.840.1.101.3.4.2.3", "2.16.840.1.101.3.4.2.8"])
def test_an_imprint_by_another_hash_algorithm_is_refused(tsa, oid):
    broken("imprint", tsa.token(DIGEST, imprint_hash=der.Oid(oid)), [tsa.root], "not one of SHA-256")


def test_a_policy_that_is_demanded_must_be_the_one(tsa):
    token = tsa.token(DIGEST)
    broken("policy", token, [tsa.root], f"under {POLICY}, not 0.4.0.2023.1.1", policy="0.4.0.2023.1.1")
    assert verify_timestamp(token, DIGEST, [tsa.root], policy=POLICY)


def test_a_foreign_certificate_is_refused(tsa, strangers):
    broken("certificate", strangers.token(DIGEST), [tsa.root], "does not lead to a trusted one")
    broken("certificate", strangers.token(DIGEST, certificates=[strangers.certificate, strangers.root]), [tsa.root])
    broken("certificate", tsa.token(DIGEST), [], "no certificate is trusted")


def test_a_self_signed_certificate_is_trusted_only_where_it_is_given(tsa):
    alone = Authority(name="Alone", self_signed=True)
    broken("certificate", alone.token(DIGEST), [tsa.root])
    broken("certificate", alone.token(DIGEST), [alone.root])
    assert verify_timestamp(alone.token(DIGEST), DIGEST, [alone.certificate]).tsa == "CN=Alone TSA"


@pytest.mark.parametrize("days", [-1.5, 40])
def test_a_certificate_that_was_not_valid_at_the_stamped_time_is_refused(tsa, days):
    broken("validity", tsa.token(DIGEST, time=now() + timedelta(days=days)), [tsa.root], "was not valid at 20")


def test_a_root_that_was_not_valid_at_the_stamped_time_is_refused():
    early = Authority(start=now() - timedelta(days=2000), days=4000)
    broken("certificate", early.token(DIGEST, time=now() - timedelta(days=1500)), [early.root], "valid at the time")


@pytest.mark.parametrize("bent", [
    {"usage": None}, {"usage": ExtendedKeyUsageOID.CODE_SIGNING}, {"more": [ExtendedKeyUsageOID.CODE_SIGNING]}, {"critical": False},
], ids=range(4))  # fmt: skip
def test_a_certificate_that_is_not_for_time_stamping_alone_and_critically_is_refused(bent):
    other = Authority(**bent)
    broken("usage", other.token(DIGEST), [other.root], "not for time stamping")


def test_a_certificate_signed_by_an_end_entity_is_refused(tsa):
    forger = Authority()
    forger.certificate = certificate("Forger", forger.key.public_key(), "Test TSA", tsa.key)
    broken("certificate", forger.token(DIGEST, certificates=[forger.certificate, tsa.certificate]), [tsa.root])


@pytest.mark.parametrize(("minted", "words"), [
    ({"signer_hash": "sha1"}, "hash algorithm 1.3.14.3.2.26 is not accepted"),
    ({"signers": 2}, "2 signatures"), ({"signers": 0}, "0 signatures"),
    ({"certificates": []}, "the certificate of its signer is not in it"),
    ({"ess": "none"}, "does not name its signer's certificate"),
    ({"signed_digest": bytes(32)}, "its content is not the one that was signed"),
    ({"attributes": lambda listed: listed[1:]}, "what was signed is no time stamp"),
    ({"attributes": lambda listed: [listed[0], *listed[2:]]}, "its content is not the one that was signed"),
    ({"attributes": lambda listed: [*listed, listed[0]]}, "is not single"),
    ({"attributes": lambda listed: [*listed[:2], der.Attribute(oid=listed[2].oid, values=listed[0].values)]}, "does not name"),
], ids=_words)  # fmt: skip
def test_a_signature_that_is_not_made_as_it_must_be_is_refused(tsa, minted, words):
    found = "token" if words == "does not name" else "signature"
    broken(found, tsa.token(DIGEST, **minted), [tsa.root], words)


def test_a_signature_by_another_key_or_for_another_certificate_is_refused(tsa, strangers):
    broken("signature", tsa.token(DIGEST, signing_key=strangers.key), [tsa.root], "not made by the key")
    for ess in ("v1", "v2"):
        broken("signature", tsa.token(DIGEST, ess=ess, ess_of=strangers.certificate), [tsa.root], "names another certificate")
    again = Authority()
    again.key, again.root_key = tsa.key, tsa.root_key
    broken("signature", again.token(DIGEST, certificates=[tsa.certificate]), [tsa.root], "certificate of its signer is not in it")


def test_weak_and_unknown_keys_are_refused():
    weak = Authority()
    for secret in (rsa.generate_private_key(65537, 1024), ed25519.Ed25519PrivateKey.generate()):  # noqa: S505 - that is the point
        weak.certificate = certificate("Test TSA", secret.public_key(), "Test root", weak.root_key)
        broken("signature", weak.token(DIGEST), [weak.root], "neither RSA of 2048 bits")


@pytest.mark.parametrize("algorithm", ["2a8648ce3d040301", "2a8648ce3d04037f"], ids=["ecdsa with SHA-224", "unknown"])
def test_a_certificate_signed_with_another_hash_is_refused(tsa, strangers, algorithm):
    """No library here signs with a weak hash any more: a spare certificate is made to say so."""
    said = bytes.fromhex("06082a8648ce3d040302")
    data = strangers.certificate.public_bytes(Encoding.DER)
    assert data.count(said) == 2
    spare = x509.load_der_x509_certificate(data.replace(said, bytes.fromhex("0608" + algorithm)))
    broken("certificate", tsa.token(DIGEST, certificates=[tsa.certificate, spare]), [tsa.root], "not signed with SHA-256")


@pytest.mark.parametrize(("minted", "words"), [
    ({"version": 2}, "version 2"), ({"critical": True}, "critical extension"),
    ({"content": der.Oid("1.2.840.113549.1.7.1")}, "no time stamp"),
    ({"accuracy": der.Accuracy(seconds=None, millis=1000, micros=None)}, "out of bounds"),
    ({"accuracy": der.Accuracy(seconds=1 << 40, millis=None, micros=None)}, "out of bounds"),
    ({"accuracy": der.Accuracy(seconds=-1, millis=None, micros=None)}, "out of bounds"),
], ids=_words)  # fmt: skip
def test_a_token_that_says_what_is_not_known_here_is_refused(tsa, minted, words):
    broken("token", tsa.token(DIGEST, **minted), [tsa.root], words)


def test_every_truncation_and_every_addition_is_refused(tsa):
    token = tsa.token(DIGEST)
    for cut in range(len(token)):
        broken("token", token[:cut], [tsa.root], "no time stamp token")
    for longer in (token + b"\0", token * 2, token + b"\n", bytes(der.MAX_BYTES + 1), b"\x30\x80" + token + b"\0\0", b"[" * 60_000):
        broken("token", longer, [tsa.root])


def test_every_byte_that_is_changed_is_refused_or_proves_the_same(tsa):
    """What is not signed, spare certificates for one, may change; then the stamp must be the one that was made."""
    token = tsa.token(DIGEST)
    stamp, kept = verify_timestamp(token, DIGEST, [tsa.root]), []
    for place in range(len(token)):
        for mask in (1, 0x80, 0xFF):
            edited = token[:place] + bytes([token[place] ^ mask]) + token[place + 1 :]
            try:
                assert verify_timestamp(edited, DIGEST, [tsa.root]) == stamp
                kept.append(place)
            except TimestampInvalid as error:
                assert len(str(error).splitlines()) == 1
    # The version of the container and of its signer, and the algorithms that are stated twice.
    assert len(kept) < 40, kept


def test_every_field_of_what_was_signed_is_refused_when_changed(tsa):
    token = decode_der(der.Token, tsa.token(DIGEST, accuracy=der.Accuracy(seconds=1, millis=2, micros=3)))
    octets = token.signed.content.octets
    info = decode_der(der.Info, octets)
    changes = {
        "version": 2, "policy": der.Oid("1.2.3"), "serial": 77, "time": GeneralizedTime(now() - timedelta(hours=3)), "accuracy": None,
        "ordering": True, "nonce": None,
    }  # fmt: skip
    for name, value in changes.items():
        before = getattr(info, name)
        setattr(info, name, value)
        token.signed.content.octets = encode_der(info)
        setattr(info, name, before)
        broken("token" if name == "version" else "signature", encode_der(token), [tsa.root])
    token.signed.content.octets = octets
    assert verify_timestamp(encode_der(token), DIGEST, [tsa.root])
    signer = token.signed.signers.as_list()[0]
    for attribute in signer.signed.as_list():
        fewer = SetOf([other for other in signer.signed.as_list() if other is not attribute])
        token.signed.signers = SetOf([_with(signer, signed=fewer)])
        broken("signature", encode_der(token), [tsa.root])
    token.signed.signers = SetOf([_with(signer, signature=signer.signature[:-1])])
    broken("signature", encode_der(token), [tsa.root])


def _with(signer: der.Signer, **changed) -> der.Signer:
    names = ("version", "signer", "digest", "signed", "algorithm", "signature", "unsigned")
    return der.Signer(**({name: getattr(signer, name) for name in names} | changed))


def test_random_damage_ends_in_one_error_type(tsa):
    chance, token = random.Random(7), tsa.token(DIGEST)  # a fixed seed
    for _ in range(3000):
        edited = bytearray(token)
        for _ in range(chance.randint(1, 8)):
            at = chance.randrange(len(edited))
            edited[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        try:
            verify_timestamp(bytes(edited), DIGEST, [tsa.root])
        except TimestampInvalid as error:
            assert error.link in {"token", "imprint", "signature", "usage", "validity", "certificate"}


# What a TSA answers


def test_an_answer_is_accepted_with_its_nonce_only(tsa):
    request = der.encode_request(DIGEST, 7)
    token, stamp = accept_answer(tsa.answer(request), DIGEST, 7)
    assert verify_timestamp(token, DIGEST, [tsa.root]) == stamp
    for answer in (tsa.answer(request, nonce=8), tsa.answer(der.encode_request(DIGEST, 9))):
        with pytest.raises(TimestampInvalid, match="^nonce: the answer belongs to another request"):
            accept_answer(answer, DIGEST, 7)


@pytest.mark.parametrize("status", [1, 2, 3, 4, 5, 99])
def test_an_answer_that_is_not_granted_is_refused(tsa, status):
    with pytest.raises(TimestampInvalid, match=f"^status: the TSA refused to stamp, with status {status}$"):
        accept_answer(tsa.answer(der.encode_request(DIGEST, 7), status=status), DIGEST, 7)


@pytest.mark.parametrize("answer", [b"", b"<html>", b"\x30\x03\x02\x01\x00", bytes(70_000)], ids=["empty", "html", "no token", "zeros"])
def test_an_answer_that_is_none_is_refused(answer):
    with pytest.raises(TimestampInvalid) as caught:
        accept_answer(answer, DIGEST, 7)
    assert caught.value.link in {"token", "status"}


# Certificates that an auditor gives


def test_roots_are_read_from_pem_files(tsa, strangers, tmp_path):
    both = tmp_path / "both.pem"
    both.write_bytes(tsa.pem(tmp_path / "a.pem").read_bytes() + strangers.pem(tmp_path / "b.pem").read_bytes())
    assert read_roots([both]) == (tsa.root, strangers.root) == read_roots([tmp_path / "a.pem", tmp_path / "b.pem"])
    for content in (b"", b"nothing", tsa.root.public_bytes(Encoding.DER), both.read_bytes()[:200]):
        (tmp_path / "bad.pem").write_bytes(content)
        with pytest.raises(AnchoringError, match="bad.pem holds no certificates in PEM"):
            read_roots([tmp_path / "bad.pem"])
    with pytest.raises(AnchoringError, match="cannot read the certificates"):
        read_roots([tmp_path / "nowhere.pem"])


# Another implementation


CONFIGURATION = """
[tsa]
default_tsa = one
[one]
serial = ./serial
crypto_device = builtin
signer_cert = ./tsa.pem
certs = ./ca.pem
signer_key = ./tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384
accuracy = secs:1, millisecs:500, microsecs:100
clock_precision_digits = 3
ordering = yes
tsa_name = yes
ess_cert_id_chain = {chain}
ess_cert_id_alg = {hash}
[usage]
extendedKeyUsage = critical, timeStamping
[authority]
basicConstraints = critical, CA:TRUE
[req]
distinguished_name = name
[name]
"""


@pytest.mark.parametrize(("chain", "hash_name"), [("no", "sha256"), ("yes", "sha1")])
def test_openssl_as_tsa_and_as_verifier_agrees(tmp_path, chain, hash_name):
    if shutil.which("openssl") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("the program openssl is not installed")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True, timeout=60)

    (tmp_path / "tsa.cnf").write_text(CONFIGURATION.format(chain=chain, hash=hash_name))
    (tmp_path / "serial").write_text("01\n")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=CA",
            "-config", "tsa.cnf", "-extensions", "authority")  # fmt: skip
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=TSA", "-config", "tsa.cnf")
    openssl("x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "30", "-set_serial", "5", "-extfile", "tsa.cnf",
            "-extensions", "usage", "-out", "tsa.pem")  # fmt: skip
    (tmp_path / "query.tsq").write_bytes(der.encode_request(DIGEST, 1 << 60))
    openssl("ts", "-reply", "-queryfile", "query.tsq", "-out", "reply.tsr", "-config", "tsa.cnf")
    token, stamp = accept_answer((tmp_path / "reply.tsr").read_bytes(), DIGEST, 1 << 60)
    assert verify_timestamp(token, DIGEST, read_roots([tmp_path / "ca.pem"]), policy="1.2.3.4.1") == stamp
    assert (stamp.accuracy, stamp.ordering, stamp.tsa) == (timedelta(microseconds=1_500_100), True, "CN=TSA")
    assert abs(stamp.time - now()) < timedelta(minutes=5) and stamp.time.microsecond % 1000 == 0
    (tmp_path / "token.der").write_bytes(token)
    openssl("ts", "-verify", "-digest", DIGEST.hex(), "-in", "token.der", "-token_in", "-CAfile", "ca.pem")
    mine = Authority()
    (tmp_path / "mine.der").write_bytes(mine.token(DIGEST))
    mine.pem(tmp_path / "mine.pem")
    openssl("ts", "-verify", "-digest", DIGEST.hex(), "-in", "mine.der", "-token_in", "-CAfile", "mine.pem")
