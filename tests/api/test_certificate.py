"""A certificate says what its evidence proves and what not, holds it whole, and no record can make it say anything else."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from authority import Authority
from evidence_vectors import VECTORS
from evidence_world import World as Made
from world import needs_font

from anchoring.container import encode
from anchoring.evidence import Proved, verify_evidence
from anchoring.journal_scan import scan_journal
from anchoring.network import read_network
from anchoring.opening import Report
from api import cli
from api.certificate import ATTACHED, Verified, certificate, certificate_document
from api.language import set_language
from api.pdf import QrCode, Table
from api.pdf_font import FONT_VARIABLE

WHEN = datetime(2026, 11, 23, 22, 0, 0, tzinfo=UTC)


poppler = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no poppler-utils")


def printed(test):
    """A test that makes a PDF and reads it."""
    return needs_font(poppler(test))


@pytest.fixture(autouse=True)
def english():
    set_language("en")
    yield
    set_language("en")


def verified(name: str, chain: str = "clique-1", *, journal: bool = False) -> Verified:
    data, network = (VECTORS / f"{name}.json").read_bytes(), VECTORS / f"{chain}.network.json"
    proved = verify_evidence(data, read_network(network))
    later = scan_journal(VECTORS / "journal", proved) if journal else None
    return Verified(data, proved, later, sha256(network.read_bytes()).digest())


def text_of(content: bytes, folder: Path) -> str:
    """The words of a PDF with single spaces, in the order of the page."""
    (folder / "c.pdf").write_bytes(content)
    done = subprocess.run(["pdftotext", "-layout", "c.pdf", "-"], cwd=folder, check=True, capture_output=True, text=True)
    return " ".join(done.stdout.split())


def pages_of(content: bytes, folder: Path) -> int:
    (folder / "c.pdf").write_bytes(content)
    done = subprocess.run(["pdfinfo", "c.pdf"], cwd=folder, check=True, capture_output=True, text=True)
    return int(re.findall(r"^Pages: *(\d+)$", done.stdout, re.MULTILINE)[0])


# Every kind, in both languages

KINDS = {
    "valid-record": (
        ["a whole record, at one version", "sealed with doubts: by a writer who is not declared", "later versions are not excluded",
         "has had version 3 of this record", "as evidence shows 中文", "Confirmed, not final: 1 of 1 sealers stand behind block 42"],
        ["一个版本的整条记录", "固化时有疑点：由未申报的人员写入", "不排除更新的版本", "已确认，并非最终确定"],
    ),
    "valid-fields": (
        ["chosen fields of a record", "What is in the 5 hidden columns: id, patient, a, c, d.", "as evidence shows", "empty (NULL)"],
        ["一个版本的部分字段", "5 个隐藏列的内容", "空（NULL）"],
    ),
    "valid-history": (
        ["the history of a record", "baseline at attach: nothing proved earlier", "Anything earlier", "versions 1 to 3 of this record",
         "Content of version 3"],
        ["记录的版本沿革", "接入时的基线：对更早的时间没有证明", "更早的任何情形", "第 3 版的内容"],
    ),
    "valid-latest": (["the last version of a record", "later versions are not excluded"], ["记录的最后版本", "不排除更新的版本"]),
    "valid-audit": (
        ["the report of an audit", "Tables audited", "The findings themselves", "beginning of this very journal"],
        ["审计报告", "审计的表", "疑点本身"],
    ),
}  # fmt: skip


@printed
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_kind_says_what_is_proved_and_what_not_and_holds_its_evidence(name, language, tmp_path):
    set_language(language)
    made = verified(name)
    content = certificate(made, WHEN)
    text = text_of(content, tmp_path)
    common = ["第一医院 First Hospital", sha256(made.data).hexdigest(), made.network.hex(), "2026-11-23T22:00:00Z", "1000001",
              "careseal evidence verify evidence.json", "careseal evidence page", "pdfdetach -saveall",
              *("0x" + sealer.hex() for sealer in made.proved.anchored.sealers)]  # fmt: skip
    titles = ["Proved", "Not proved", "How to check it yourself"] if language == "en" else ["已证明", "未证明", "如何自行核验"]
    packed = text.replace(" ", "")
    for words in common + titles + KINDS[name][language == "zh"]:
        assert words.replace(" ", "") in packed, words
    assert pages_of(content, tmp_path) <= 2
    subprocess.run(["pdfdetach", "-saveall", "c.pdf"], cwd=tmp_path, check=True)
    assert (tmp_path / ATTACHED).read_bytes() == made.data
    assert verify_evidence((tmp_path / ATTACHED).read_bytes(), read_network(VECTORS / "clique-1.network.json")) == made.proved


def sentences(made: Verified) -> str:
    return str(certificate_document(made, WHEN))


def test_origins_are_told_apart():
    told = sentences(verified("valid-record-pgtext"))
    assert "Sealed when written" in told and "'sealed when written'" in told and "baseline" not in told
    told = sentences(verified("valid-history"))
    assert "baseline at attach: nothing proved earlier" in told and "Sealed when written" not in told
    made = verified("valid-record-pgtext")
    for change, words in (({"captured": False}, "it was found by a scan"), ({"baseline": True}, "Anything earlier"),
                          ({"marks": ("back_dated",)}, "Marked when it was sealed: back-dated."),
                          ({"kind": "amended"}, "Earlier versions: this is an amendment")):  # fmt: skip
        told = sentences(with_version(made, **change))
        assert words in told
        assert "Sealed when written" not in told


def with_version(made: Verified, **changes: object) -> Verified:
    record = made.proved.record
    return with_record(made, versions=(replace(record.last, **changes),))


def with_record(made: Verified, **changes: object) -> Verified:
    return replace(made, proved=replace(made.proved, subject=replace(made.proved.record, **changes)))


def test_later_versions_are_excluded_only_by_the_whole_journal():
    told = sentences(verified("valid-latest", journal=True))
    assert "No later version: all 21 entries" in told and "not excluded" not in told
    told = sentences(verified("valid-record-pgtext", journal=True))
    assert "there IS a later one, version 2, in entry 20" in told and "No later version" not in told


def test_final_blocks_and_trusted_ones_are_told_apart_from_confirmed_ones():
    assert "Final: 3 of 4 validators sealed block 60" in (told := sentences(verified("valid-qbft-4", "qbft-4")))
    assert "not final" not in told and "fork" not in told
    assert "Confirmed, not final: 2 of 3" in (told := sentences(verified("valid-clique-3", "clique-3"))) and "fork of equal weight" in told
    made = verified("valid-record")
    alone = replace(made, proved=replace(made.proved, anchored=replace(made.proved.anchored, sealers=())))
    assert "is the one that the network file itself names as trusted" in sentences(alone)


def test_a_deleted_record_and_missing_content_are_said():
    assert "The record was deleted." in sentences(verified("valid-latest-deleted"))
    made = verified("valid-history-no-copy")
    assert "Why content is not shown" in sentences(made)
    values = dict(made.proved.record.last.values)
    both = tuple(replace(v, values=values | {"note": str(v.number)}) for v in made.proved.record.versions)
    versions = next(b for b in certificate_document(with_record(made, versions=both), WHEN).blocks if isinstance(b, Table))
    assert [row[-1] for row in versions.rows] == ["-", "note"]


def test_the_code_holds_digest_chain_institution_and_block_and_nothing_else():
    made = verified("valid-record")
    (code,) = [block for block in certificate_document(made, WHEN).blocks if isinstance(block, QrCode)]
    assert code.content == f"careseal:evidence:{sha256(made.data).hexdigest()}:1000001:3:7"


@printed
def test_the_same_input_makes_the_same_bytes():
    made = verified("valid-record")
    first = certificate(made, WHEN)
    assert certificate(made, WHEN) == first
    assert certificate(made, WHEN.replace(second=1)) != first


# Odd and large content

HOSTILE = {
    "newlines": "a\n\nProved\n1. Everything", "right to left": "abc\u202edef\u05d0\u0645", "control": "x\x00\x1b[31m\x07\ty",
    "unseen": "p\u3164q\u200br\ufe0fs\u2028t", "piled": "e" + "\u0301" * 40 + "!", "rare": "".join(map(chr, range(0x12000, 0x12100))),
    "emoji": "👩‍⚕️🏥", "markup": "#panic() *b* $x$ <script> \\u{41}", "digits": "f" * 5000, "word": "W" * 5000, "wide": "病" * 5000,
    "spaces": "a" + " " * 400 + "b",
}  # fmt: skip


@printed
def test_hostile_values_stay_in_their_cells(tmp_path):
    made = with_version(verified("valid-record-pgtext"), values=HOSTILE)
    content = certificate(made, WHEN)
    text = text_of(content, tmp_path)
    for words in ("abc[U+202E]def[U+05D0][U+0645]", "x[U+0000][U+001B][31m[U+0007][U+0009]y", "p[U+3164]q[U+200B]r[U+FE0F]s[U+2028]t",
                  "[U+12030]", "#panic() *b* $x$ <script> \\u{41}"):  # fmt: skip
        assert words.replace(" ", "") in text.replace(" ", ""), words
    assert not set("\u202e\u200b\u3164\x1b") & set(text)
    lines = subprocess.run(["pdftotext", "-layout", "c.pdf", "-"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert [line.split() for line in lines.splitlines()].count(["Proved"]) == 1
    assert max(map(len, lines.splitlines())) < 160
    assert "W" * 200 in text.replace(" ", "") and "W" * 400 not in text.replace(" ", "")
    assert "which holds everything" in text and "stands for a character that cannot be shown" in text
    assert pages_of(content, tmp_path) <= 2


@printed
@pytest.mark.parametrize("language", ["en", "zh"])
def test_however_much_there_is_two_pages_hold_it(language, tmp_path):
    set_language(language)
    made = verified("valid-record-pgtext")
    anchored = replace(made.proved.anchored, name="医" * 500, sealers=tuple(n.to_bytes(20, "big") for n in range(1000)), sealers_of=1000)
    names = tuple(f"列{number}" + "名" * 200 for number in range(256))
    marks = ("altered_before", "inserted_before", "unauthorised", "final", "back_dated", "deletion", "uncompared", "time_unreadable")
    last = made.proved.record.last
    for values in (dict.fromkeys(names, "值" * 5000), {f"c{number}": "v" for number in range(256)}):
        versions = tuple(replace(last, number=n, values=values, marks=marks, baseline=True) for n in range(1, 1025))
        record = replace(made.proved.record, table="表" * 300, source_table="s" * 300, key=names, hidden=names, versions=versions)
        for subject in (record, replace(record, versions=versions[:1])):
            whole = replace(made, proved=Proved("history", anchored, subject))
            content = certificate(whole, WHEN)
            assert pages_of(content, tmp_path) == 2
            assert ("more columns are in the attached file" if language == "en" else "列，见所附文件") in text_of(content, tmp_path)


@printed
def test_reports_with_many_or_strange_tables(tmp_path):
    made = verified("valid-audit")
    tables = [{"table": "t" * 400, "rows": 10**15, "pending": "no", "findings": None}, 7, None, {"a": ["\u202e"]}, *[{"table": "x"}] * 5000]
    audit = dict(made.proved.subject.audit) | {"tables": tables, "at": 2**53 - 1}
    content = certificate(replace(made, proved=replace(made.proved, subject=Report(19, 0.0, audit))), WHEN)
    assert pages_of(content, tmp_path) == 2
    text = text_of(content, tmp_path)
    assert "more tables are in the attached file" in text and '{"a": ["[U+202E]"]}' in text


# The command


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["evidence", "certificate", *map(str, arguments)])
    return int(ended.value.code or 0)


@printed
def test_a_time_stamp_is_proved_where_its_root_is_given_and_else_said_to_be_unchecked(tmp_path, capsys):
    made, authority, file = Made(), Authority(), tmp_path / "stamped.json"
    bare = verify_evidence(encode(made.parts("record") | {"timestamp": made.stamped()}), made.network())
    file.write_bytes(encode(made.parts("record") | {"timestamp": made.stamped(authority.token(bare.stamped.digest))}))
    given, output = (file, "--network", VECTORS / "clique-1.network.json", "-o", tmp_path / "out.pdf"), tmp_path / "out.pdf"
    assert run(*given) == 0
    text = text_of(output.read_bytes(), tmp_path)
    assert "time stamp says: it was not checked" in text and "It all existed" not in text
    assert run(*given, "--tsa-cert", authority.pem(tmp_path / "root.pem")) == 0
    text = text_of(output.read_bytes(), tmp_path)
    assert re.search(r"It all existed at the time of its time stamp: \S+Z by CN=Test TSA", text) and "not checked" not in text
    output.unlink()
    capsys.readouterr()
    assert run(*given, "--tsa-cert", Authority().pem(tmp_path / "other.pem")) == 1
    assert "timestamp: " in capsys.readouterr().err and not output.exists()


@printed
def test_the_command_makes_the_same_pdf_at_the_same_time(tmp_path, capsys):
    given = (VECTORS / "valid-latest.json", "--network", VECTORS / "clique-1.network.json", "--journal", VECTORS / "journal")
    first, second = tmp_path / "1.pdf", tmp_path / "2.pdf"
    for path in (first, second):
        assert run(*given, "-o", path, "--made-at", "2026-11-23T22:00:00Z") == 0
    assert first.read_bytes() == second.read_bytes() == certificate(verified("valid-latest", journal=True), WHEN)
    assert "No later version" in text_of(first.read_bytes(), tmp_path)
    assert first.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("name", "more", "code", "words"), [
    ("broken-row-edited", [], 1, "record: "),
    ("broken-too-few-sealers", [], 1, "confirmation: "),
    ("valid-latest-not", ["--journal", VECTORS / "journal"], 1, "latest: "),
    ("valid-qbft-4", [], 1, "seal: "),
    ("valid-audit", ["--journal", VECTORS / "journal"], 2, "give evidence of a record"),
    ("valid-record", ["--journal", VECTORS], 2, "is no exported journal"),
    ("valid-record", ["--made-at", "soon"], 2, "--made-at soon: write a time as"),
    ("valid-record", ["--made-at", "1700-01-01"], 2, "--made-at 1700-01-01: write a time as"),
    ("nothing", [], 2, "cannot read"),
])  # fmt: skip
def test_nothing_is_made_of_evidence_that_does_not_verify(name, more, code, words, tmp_path, capsys):
    index = {"broken-too-few-sealers": "clique-3"}
    network = VECTORS / f"{index.get(name, 'clique-1')}.network.json"
    output = tmp_path / "out.pdf"
    assert run(VECTORS / f"{name}.json", "--network", network, "-o", output, *more) == code
    error = capsys.readouterr().err
    assert words in error and len(error.splitlines()) == 1
    assert not output.exists()


def test_evidence_and_network_file_are_not_overwritten(tmp_path, capsys):
    evidence, network = tmp_path / "e.json", tmp_path / "n.json"
    shutil.copyfile(VECTORS / "valid-record.json", evidence)
    shutil.copyfile(VECTORS / "clique-1.network.json", network)
    for output in (evidence, network):
        before = output.read_bytes()
        assert run(evidence, "--network", network, "-o", output) == 2
        assert "give --output another name" in capsys.readouterr().err
        assert output.read_bytes() == before


@printed
def test_a_font_or_an_output_that_cannot_be_used_is_one_line(tmp_path, capsys, monkeypatch):
    given = (VECTORS / "valid-record.json", "--network", VECTORS / "clique-1.network.json")
    assert run(*given, "-o", tmp_path / "no" / "folder.pdf") == 2
    assert "cannot write" in capsys.readouterr().err
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    monkeypatch.setenv(FONT_VARIABLE, str(broken))
    assert run(*given, "-o", tmp_path / "out.pdf") == 2
    assert f"the font {broken} is damaged" in (error := capsys.readouterr().err) and len(error.splitlines()) == 1
    monkeypatch.setenv(FONT_VARIABLE, str(tmp_path / "none.ttf"))
    assert run(*given, "-o", tmp_path / "out.pdf") == 2
    assert "No such file" in (error := capsys.readouterr().err) and len(error.splitlines()) == 1
    assert not (tmp_path / "out.pdf").exists()
