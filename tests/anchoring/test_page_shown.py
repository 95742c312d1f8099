"""The page as people use it, in Chromium: files chosen and dropped, both languages, a phone, the keyboard; closed to all else."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from evidence_vectors import VECTORS
from evidence_world import World, journal
from playwright.sync_api import Browser, Page, expect

from anchoring import page as page_of
from anchoring.container import encode, plain
from anchoring.network import encode_network
from anchoring.page import SHIPPED, SOURCES, VENDOR, built, page
from ledger import rowcodec
from ledger.wire import Kind

TRUST = str(VECTORS / "clique-1.network.json")


@pytest.fixture
def shown(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page in English, wide, unless the test names other settings. Errors of its script fail the test."""
    marker = request.node.get_closest_marker("settings")
    context = chromium.new_context(**({"locale": "en-US", "offline": True} | (marker.kwargs if marker else {})))
    opened, errors, asked = context.new_page(), list[str](), list[str]()
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(SHIPPED.as_uri())
    yield opened
    context.close()
    assert errors == [] and asked == [SHIPPED.as_uri()]


def choose(shown: Page, evidence: str, network: str = TRUST) -> None:
    shown.set_input_files("#network", network)
    shown.set_input_files("#evidence", str(VECTORS / evidence))


def result(shown: Page, title: str) -> str:
    """The result as text, once it has this title."""
    expect(shown.locator("#result h2")).to_have_text(title)
    return shown.locator("#result").inner_text()


# The file


def test_the_shipped_page_is_a_fresh_build():
    assert page() == built()
    assert page_of.main(["--check"]) == 0


def test_a_stale_page_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(page_of, "SHIPPED", tmp_path / "verifier.html")
    assert page_of.main(["--check"]) == 1 and "run python -m anchoring.page" in capsys.readouterr().out
    assert page_of.main([]) == 0 and page_of.main(["--check"]) == 0


def test_vendored_libraries_are_those_of_their_list():
    listed = dict(reversed(line.split("  ")) for line in (VENDOR / "SHA256SUMS").read_text().splitlines())
    found = {path.relative_to(VENDOR).as_posix(): sha256(path.read_bytes()).hexdigest() for path in VENDOR.rglob("*") if path.is_file()}
    assert {name: found[name] for name in found if name not in ("SHA256SUMS", "README.md")} == listed
    assert {"noble-curves/LICENSE", "noble-hashes/LICENSE"} <= set(listed)


@pytest.mark.parametrize(("source", "words"), [
    ('import "./bytes.js";\n', "not understood"), ('import x from "./bytes.js";\n', "not understood"),
    ("export default 7;\n", "not understood"),
    ('export * from "./bytes.js";\n', "not understood"), ('import { a } from "left-pad";\n', "not vendored"),
    ('import { a } from "./page.js";\n', "imports itself"), ("const a = '</script>';\n", "would end its element"),
])  # fmt: skip
def test_a_source_that_the_build_does_not_understand_is_refused(source, words, tmp_path, monkeypatch):
    for path in SOURCES.glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "page.js").write_text(source)
    monkeypatch.setattr(page_of, "SOURCES", tmp_path)
    with pytest.raises(ValueError, match=words):
        built()


def test_the_policy_allows_the_one_script_and_the_one_style_and_nothing_else():
    text = page().decode()
    (script,), (style,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL), re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digests = ["sha256-" + b64encode(sha256(part.encode()).digest()).decode() for part in (script, style)]
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy == (
        f"default-src 'none'; script-src '{digests[0]}'; style-src '{digests[1]}'; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    rest = text.replace(script, "").replace(style, "")
    assert not re.search(r"\b(?:src|href|action|on[a-z]+|style)=", rest)
    own = "".join(path.read_text(encoding="utf-8") for path in SOURCES.glob("*.js"))
    assert not re.search(
        r"\b(?:eval|Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write|fetch|XMLHttpRequest|WebSocket|import)\(", own
    )


LOADED = "new Promise((done, failed) => { const it = %s; it.onload = it.onmessage = done; it.onerror = failed; %s })"


@pytest.mark.parametrize("act", [
    "fetch('data:text/plain,x')", "new Function('return 1')()", "eval('1')", "document.body.innerHTML = '<b>x</b>'",
    LOADED % ("new Image()", "it.src = 'data:image/svg+xml,<svg xmlns=%22http://www.w3.org/2000/svg%22 width=%221%22 height=%221%22/>'"),
    LOADED % ("document.createElement('script')", "it.src = 'data:text/javascript,1'; document.body.append(it)"),
    LOADED % ("new Worker('data:text/javascript,postMessage(1)')", ""), "import('data:text/javascript,1')",
])  # fmt: skip
def test_the_browser_refuses_the_page_everything_else(chromium, act, tmp_path):
    without = tmp_path / "without.html"
    without.write_text(re.sub(r"<meta http-equiv[^>]*>", "", page().decode()))
    outcomes = []
    for path in (SHIPPED, without):
        opened = chromium.new_page()
        opened.goto(path.as_uri())
        # While the debugger itself evaluates, eval is allowed: hence the wait.
        wait = "await new Promise((resolve) => setTimeout(resolve, 1))"
        outcomes.append(opened.evaluate(f"async () => {{ {wait}; try {{ await ({act}); return 'done'; }} catch {{ return 'refused'; }} }}"))
        opened.close()
    assert outcomes == ["refused", "done"]


def module(chromium: Browser, name: str, value: str) -> Any:
    """A value of one of the page's modules that imports nothing."""
    opened = chromium.new_page()
    source = (SOURCES / name).read_text(encoding="utf-8").replace("export ", "")
    found = opened.evaluate(f"(() => {{ {source}; return {value}; }})()")
    opened.close()
    return found


def test_both_languages_have_every_text(chromium):
    languages = module(chromium, "texts.js", "LANGUAGES")

    def names(texts: Any) -> Any:
        if isinstance(texts, dict):
            return {name: names(value) for name, value in texts.items()}
        assert texts
        return sorted(re.findall(r"\{\w+\}", "".join(texts)))

    assert names(languages["zh"]) == names(languages["en"])
    used = set(re.findall(r'data-text="(\w+)"', (SOURCES / "page.html").read_text())) | set(
        re.findall(r"\bt\.(\w+)", "".join(path.read_text() for path in SOURCES.glob("*.js")))
    )
    asked = {"waiting", "working", "badNetwork", "badJournal", "unreadable", "dropped", "droppedFolder"}  # by the outcome
    assert used | asked == set(languages["en"])


def test_every_link_has_a_name_in_both_languages(chromium):
    links = module(chromium, "texts.js", "LINKS")
    named = set(re.findall(r'(?:Broken|linked)\("(\w+)"', "".join(path.read_text() for path in SOURCES.glob("*.js")))) | {
        "audit",
        "configuration",
    }
    assert set(links["zh"]) == set(links["en"]) == named


@pytest.mark.parametrize(("message", "digest"), [
    ("abc", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
    ("abcd" * 16, "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"),
])  # fmt: skip
def test_sm3_gives_the_digests_of_the_standard(chromium, message, digest):
    """GB/T 32905-2016, annex A."""
    call = f"Array.from(sm3(Uint8Array.from('{message}', (letter) => letter.charCodeAt(0))))"
    assert bytes(module(chromium, "sm3.js", call)).hex() == digest


# What people see


def test_valid_evidence_is_shown_with_what_is_proved_and_what_is_not(shown):
    choose(shown, "valid-record.json")
    text = result(shown, "VALID")
    for words in ("第一医院 First Hospital (institution 3) sealed what is shown below (version 3)", "in block 7",
                  "Confirmed, not final: 1 of 1", "This is an amendment", "by a writer who is not declared",
                  "Later versions are not excluded", "as evidence shows 中文", "empty (NULL)", "00ff", "1099511627776",
                  "main.visit"):  # fmt: skip
        assert words in text
    data = (VECTORS / "valid-record.json").read_bytes()
    assert sha256(data).hexdigest() in text and "Sealed when written" not in text
    expect(shown.locator("#print")).to_be_visible()


@pytest.mark.settings(locale="zh-CN")
def test_chinese_readers_see_chinese(shown):
    choose(shown, "valid-fields.json")
    text = result(shown, "有效")
    assert "已证明" in text and "未证明" in text and "不排除更新的版本" in text and "隐藏的列只有承诺" in text
    assert shown.title() == "Careseal 证据核验" and shown.locator("html").get_attribute("lang") == "zh"
    english = re.sub(r"main\.visit|First Hospital|RFC|SHA|NULL|Clique|clique|Careseal|visit|patient|note|as evidence shows", "", text)
    assert not re.search(r"[A-Za-z]{4,}", re.sub(r"\b[0-9a-fx]{20,}\b|[0-9T:Z-]{15,}", "", english))
    shown.get_by_role("button", name="English").click()
    assert "Not proved" in result(shown, "VALID")


@pytest.mark.parametrize(("vector", "network", "link", "english", "chinese"), [
    ("broken-row-edited.json", "clique-1", "record", "Record", "记录"),
    ("broken-truncated.json", "clique-1", "container", "File format", "文件格式"),
    ("broken-clique-foreign.json", "clique-1", "seal", "Commit seals", "验证签章"),
    ("broken-too-few-sealers.json", "clique-3", "confirmation", "Confirmation", "区块确认"),
])  # fmt: skip
def test_broken_evidence_is_shown_with_its_first_broken_link(shown, vector, network, link, english, chinese):
    choose(shown, vector, str(VECTORS / f"{network}.network.json"))
    text = result(shown, "INVALID")
    assert f"First broken link: {english} ({link})" in text and "proves nothing" in text and "Proved" not in text
    shown.get_by_role("button", name="中文").click()
    assert f"断开的第一个环节：{chinese} ({link})" in result(shown, "无效")


def test_final_blocks_and_baselines_are_told_apart(shown):
    choose(shown, "valid-qbft-4.json", str(VECTORS / "qbft-4.network.json"))
    text = result(shown, "VALID")
    assert "Final: 3 of 4 validators sealed block 60" in text and "fork" not in text
    choose(shown, "valid-history.json")
    assert "Baseline at attach: nothing is proved about earlier times" in result(shown, "VALID")
    choose(shown, "valid-record-pgtext.json")
    text = result(shown, "VALID")
    assert "Sealed when written" in text and "Baseline" not in text


def test_an_audit_is_shown_as_the_institutions_word(shown):
    choose(shown, "valid-audit.json")
    text = result(shown, "VALID")
    assert "Audit report (the institution's word)" in text and '"table":"检验"' in text and "2026-01-01T00:01:00Z" in text


def test_with_the_journals_folder_later_versions_are_found_or_excluded(shown):
    choose(shown, "valid-latest.json")
    assert "Later versions are not excluded" in result(shown, "VALID")
    shown.set_input_files("#journal", str(VECTORS / "journal"))
    expect(shown.locator("#result")).to_contain_text("No later version: all 21 entries")
    choose(shown, "valid-record-pgtext.json")
    expect(shown.locator("#result")).to_contain_text("There is a later version in the journal: version 2, entry 20")
    choose(shown, "valid-latest-not.json")
    assert "First broken link: Last version (latest)" in result(shown, "INVALID")
    shown.set_input_files("#journal", str(VECTORS.parent / "eth_getProof"))
    choose(shown, "valid-latest.json")
    assert "careseal journal export" in result(shown, "NOT CHECKED")


def test_a_file_that_is_no_network_file_is_no_verdict_on_the_evidence(shown):
    choose(shown, "valid-record.json", str(VECTORS / "valid-record.json"))
    text = result(shown, "NOT CHECKED")
    assert "no Careseal network file" in text and "INVALID" not in text
    choose(shown, "valid-record.json")
    result(shown, "VALID")


def drop(shown: Page, *paths: str) -> None:
    """Drag real files and folders over the page and let go."""
    session = shown.context.new_cdp_session(shown)
    data = {"items": [], "files": list(paths), "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 200, "data": data})


def test_files_can_be_dropped_together(shown):
    drop(shown, str(VECTORS / "valid-latest.json"), TRUST)
    result(shown, "VALID")
    drop(shown, str(VECTORS / "broken-row-edited.json"))
    result(shown, "INVALID")
    drop(shown, str(SOURCES / "page.css"))
    assert "Not recognised: page.css" in result(shown, "NOT CHECKED")
    drop(shown, str(VECTORS / "journal"))
    expect(shown.locator("#result")).to_contain_text("Choose the exported journal with the button for folders")


@pytest.mark.settings(viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True)
@pytest.mark.parametrize("vector", ["valid-record.json", "valid-history.json", "valid-audit.json", "broken-row-edited.json"])
def test_a_narrow_phone_needs_no_sideways_scrolling(shown, vector):
    choose(shown, vector)
    expect(shown.locator("#result h2")).to_have_text(re.compile("VALID"))
    assert shown.evaluate("document.documentElement.scrollWidth") <= 320
    boxes = [button.bounding_box() for button in shown.locator("button:visible, .file label").all()]
    assert all(box and box["height"] >= 40 for box in boxes)


def test_everything_is_reached_by_keyboard(shown):
    choose(shown, "valid-record.json")
    result(shown, "VALID")
    reached = []
    shown.locator("h1").click()
    for _ in range(9):
        shown.keyboard.press("Tab")
        reached.append(
            shown.evaluate("document.activeElement.id || document.activeElement.dataset?.language || document.activeElement.tagName")
        )
    assert reached[:8] == ["zh", "en", "evidence", "network", "journal", "print", "SUMMARY", "SUMMARY"]
    for name, label in (
        ("evidence", "Evidence file"),
        ("network", "Network file (root of trust)"),
        ("journal", "Exported journal (folder, optional)"),
    ):
        expect(shown.locator(f"#{name}")).to_have_accessible_name(label)


def test_a_printed_result_has_no_controls(shown):
    choose(shown, "valid-record.json")
    result(shown, "VALID")
    shown.emulate_media(media="print")
    for hidden in (".files", "nav", "footer", "#print"):
        expect(shown.locator(hidden)).to_be_hidden()
    expect(shown.locator("#result table")).to_be_visible()


def test_values_are_shown_as_text_whatever_they_hold(shown, tmp_path):
    """A value may hold markup: nothing of it becomes an element."""
    kept, markup = journal(), "<img src=x onerror=alert(1)><b>"
    row = rowcodec.encode_sqlite((1, markup, None, None, None, None, None))
    place = kept.record("markup", Kind.WRITTEN, 1, 1, None, row, rowcodec.SQLITE)
    world = World(kept)
    own = {"record": plain(kept.version(place)), "configuration": plain(kept.document(0))}
    (tmp_path / "evidence.json").write_bytes(encode(world.parts("record") | own))
    (tmp_path / "network.json").write_bytes(encode_network(world.network()))
    choose(shown, str(tmp_path / "evidence.json"), str(tmp_path / "network.json"))
    assert markup in result(shown, "VALID")
    assert shown.locator("img").count() == 0 and shown.locator("#result b").count() == 0
