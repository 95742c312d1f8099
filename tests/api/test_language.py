"""The catalog of Chinese texts is complete, and what people read is in the language that they chose."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from string import Formatter

import pytest

from anchoring.errors import EvidenceInvalid
from anchoring.verify import Verified
from api import cli, console, extract, foreign
from api.errors import FAILED
from api.language import REPORT, _, choose, language, reported, set_language
from api.messages import Reader, UntranslatableText, reported_texts, shown_texts
from api.program import Program, called, read_module
from api.templates import Entry, Templates
from careseal import CaresealError
from contracts.calls import ContractRefused
from ledger import canonical, wire
from ledger.audit import AuditResult, TableResult
from ledger.errors import HomeError, ProofError
from ledger.findings import Finding, FindingKind, IntactAt
from ledger.home import read_settings
from ledger.merkle import verify_inclusion
from ledger.sources import open_source
from node.client import connect
from node.embedded import EmbeddedChain
from samples.hospital import SampleError
from samples.hospital import build as build_hospital

ROOT = Path(__file__).resolve().parents[2]
VARIABLES = ("CARESEAL_LANG", "LC_ALL", "LC_MESSAGES", "LANG")


@pytest.fixture(autouse=True)
def english(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield
    set_language("en")


@pytest.fixture
def chinese():
    set_language("zh")


def english_in(text: str) -> list[str]:
    """Three English words in a row that are neither a command, an option, a type, a path nor a fingerprint."""
    for allowed in (r"\b[0-9a-f]{4}( [0-9a-f]{4})+\b", r"careseal( [a-z-]+)+", r"--[a-z-]+", r"<[^>]*>", r"\S*[/.:_]\S*", r"'[^']*'"):
        text = re.sub(allowed, "|", text)
    return re.findall(r"[A-Za-z]{2,}(?:[ ,]+[a-z]{2,}){2,}", text)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return subprocess.run(
        [sys.executable, "-m", "api.cli", *arguments], cwd=ROOT, env=clean | environment, capture_output=True, text=True, timeout=300
    )


# The catalog


def test_catalog_has_every_text_of_the_source_and_no_other():
    """Add what is missing with `python -m api.extract`, and translate it in api/locale/zh/LC_MESSAGES/careseal.po."""
    found = extract.shortcomings("zh")
    assert not found, "\n".join(["run python -m api.extract, then translate in api/locale/zh/LC_MESSAGES/careseal.po:", *found])


def test_words_of_the_design_are_kept():
    texts = {(message.context, message.id): str(message.string) for message in extract.stored("zh") if message.id}
    for english_word, chinese_word in (
        (r"\b(not sealed|seals? (new|what|hospital)|under seal)\b", "固化"), (r"\banchor(s|ed)\b", "存证"),
        (r"\bjournal\b(?! (mode|entry))", "存证日志"),
        (r"\bfindings?\b", "疑点"), (r"\bamendments?\b", "修改留痕"), (r"\bback-dat", "倒签"), (r"\bsubject's?\b", "患者"),
        (r"\berasure\b", "关联销毁"), (r"\b(under|a) hold\b", "封存"),
    ):  # fmt: skip
        for (_context, text), translation in texts.items():
            if re.search(english_word, text, re.IGNORECASE):
                assert chinese_word in translation, (text, translation)
    # A seal is never 封存: that is a hold, and the other way round.
    holds = {text for (_context, text), translation in texts.items() if "封存" in translation}
    assert not [text for text in holds if not re.search(r"\bh(old|eld)s?\b", text, re.IGNORECASE)]


def test_formats_of_values_are_kept():
    for message in extract.stored("zh"):
        if message.id and message.context is None:
            assert fields(message.id) == fields(message.string), message.id


def fields(text: str) -> set[tuple[str | None, str | None]]:
    return {(name, form) for _literal, name, form, _conversion in Formatter().parse(text) if name is not None}


def test_every_template_is_recognised_in_the_text_made_from_it(chinese):
    for message in extract.stored("zh"):
        if message.context == REPORT and message.id:
            names = extract.in_order(message.id)
            if not re.search(r"\w", message.id.format(**dict.fromkeys(names, ""))):
                continue  # marks alone do not make a text known
            values = {name: f"<{number}>" for number, name in enumerate(names)}
            assert reported(message.id.format(**values)) == message.string.format(**values), message.id


def test_translation_survives_a_renamed_value():
    assert extract.outline("{path} is {size} of {path}") == extract.outline("{folder} is {n} of {folder}") == "{0} is {1} of {0}"
    assert extract.outline("{a} is {b}") != extract.outline("{a} is {a}")


# Finding the texts


def program(**modules: str) -> Program:
    head = "class CaresealError(Exception): pass\nclass Bad(CaresealError): pass\n"
    shapes = "class Spot:\n    kind: int\n    detail: str\nclass Finding:\n    kind: int\n    detail: str\n"
    return Program(read_module(f"{name}.py", source) for name, source in {"errors": head + shapes, **modules}.items())


def templates(**modules: str) -> dict[str, tuple[str, ...]]:
    return {text.text: text.texts for text in reported_texts(program(**modules))}


@pytest.mark.parametrize(("source", "expected"), [
    ('raise Bad("it is gone")', {"it is gone": ()}),
    ('raise Bad(f"{path} has {len(names)} of {path}: {self._size!r}")', {"{path} has {names} of {path}: {size}": ()}),
    ('raise Bad("one " + "two" if x else "three four")', {"one two": (), "three four": ()}),
    ('raise Bad(f"at {x:02d} {{left}}")', {"at {x} {{left}}": ()}),
    ('try:\n    pass\nexcept OSError as error:\n    raise Bad(f"no: {error.strerror}")', {"no: {strerror}": ("strerror",)}),
    ('def f(why):\n    return Bad(f"no: {why}")\nraise f("too late")', {"no: {why}": ("why",), "too late": ()}),
    ('def f(table: str):\n    return Bad(f"no {table}")\nraise f("lab_result")', {"no {table}": ()}),
    ('def f(count: int):\n    return Bad(f"no {count}")\nraise f(3)', {"no {count}": ()}),
    ('WHY = {1: "too late", 2: "too early"}\nraise Bad(f"no: {WHY[n]}")', {"no: {why}": ("why",), "too late": (), "too early": ()}),
    ('WHERE = "at home"\nraise Bad(f"no: {WHERE}")', {"no: at home": ()}),
    ('def f(n):\n    named = f"table {n}"\n    raise Bad(f"{named} is gone")', {"table {n} is gone": ()}),
    ('def f(w):\n    w = w.strip()\n    raise Bad(f"no: {w}")', {"no: {w}": ()}),
    ('def g(n):\n    return ["is gone", *[f"{x} was changed" for x in n]]\nraise Bad("; ".join(g(1)))',
     {"is gone": (), "{x} was changed": ()}),
    ('def g():\n    found = []\n    found.append(f"{x} is gone")\n    return found\nSpot(1, "; ".join(g()))', {"{x} is gone": ()}),
    ('class A:\n    def f(self, x):\n        self.why = [f"{x} is gone"] if x else []\n    def g(self):\n        Spot(1, self.why[0])',
     {"{x} is gone": ()}),
    ('Finding(1, detail="rows differ")', {"rows differ": ()}),
    ('class Own(Bad):\n    def __init__(self, part, why):\n        super().__init__(f"{part}: {why}")\nraise Own("a header", "is bad")',
     {"{part}: {why}": ("part", "why"), "a header": (), "is bad": ()}),
    ('def remarks():\n    return ["writers wait"] if x else []', {"writers wait": ()}),
    ('raise ValueError("not ours")', {}),
])  # fmt: skip
def test_texts_of_errors_and_findings_are_found(source, expected):
    assert templates(module=source) == expected


def test_texts_are_followed_between_modules_and_round_in_circles():
    assert templates(a='def refuse(why):\n    return Bad(why)', b='def f(x):\n    x = f(x)\n    raise refuse(f"no {x}")') == {"no {x}": ()}


def test_a_text_with_many_forms_is_taken_apart():
    choices = " ".join('{"aa" if x else "bb"}' for _number in range(5))
    slots = ("text", "text2", "text3", "text4", "text5")
    found = templates(module=f"raise Bad(f'{choices} end')")
    assert found == {"{text} {text2} {text3} {text4} {text5} end": slots, "aa": (), "bb": ()}


def test_shown_texts_are_found_through_functions_that_show_them():
    source = 'def say(text, **values):\n    print(_(text))\nsay("OK")\nsay("one" if x else "two", n=1)\nlabel = _("none")'
    assert [text.text for text in shown_texts(program(module=source))] == ["OK", "none", "one", "two"]


def test_a_shown_text_that_is_put_together_is_refused():
    with pytest.raises(UntranslatableText, match=r"f-string: the \{x\}"):
        shown_texts(program(module='_(f"the {x}")'))


def test_a_reader_takes_what_an_expression_can_be():
    reader = Reader(program(), every=True)
    reader.follow(ast.parse("'a' or 'b'", mode="eval").body, (read_module("m", ""), None))
    assert set(reader.templates) == {"a", "b"}


def test_whatever_the_command_line_prints_goes_through_the_catalog():
    printing = {"print", "echo", "BadParameter", "add_task"}
    for path in sorted((ROOT / "api").glob("*.py")):
        module = read_module(path.name, path.read_text())
        for call, _inside in module.calls:
            if called(call) in printing and call.args and isinstance(call.args[0], (ast.Constant, ast.JoinedStr)):
                literal = "".join(n.value for n in ast.walk(call.args[0]) if isinstance(n, ast.Constant) and isinstance(n.value, str))
                assert not english_in(literal), f"{path.name}:{call.lineno}: wrap {literal!r} in _() or use say()"


# Recognising texts


def test_the_translation_that_leaves_least_of_a_text_wins():
    known = Templates([Entry("the {b} of {a}", "{a} 的 {b}"), Entry("the {b} of {a} is gone", "{a} 的 {b} 没有了")], "；")
    assert known.translate("the y of x is gone") == "x 的 y 没有了"
    assert known.translate("the y of x") == "x 的 y"
    nested = Templates([Entry("{a} ({b})", "{a}（{b}）", frozenset("ab")), Entry("{a}: {b}", "{a}，{b}", frozenset("b")),
                        Entry("it is bad ({b})", "坏了（{b}）"), Entry("{b} is gone", "{b} 没有了")], "；")  # fmt: skip
    assert nested.translate("x: it is bad (y)") == "x，坏了（y）"
    assert nested.translate("x: y is gone") == "x，y 没有了"


def test_values_are_translated_only_where_they_are_texts():
    known = Templates([Entry("not JSON", "不是 JSON"), Entry("{a}! {b}", "{a}！{b}", frozenset({"b"}))], "；")
    assert known.translate("not JSON! not JSON") == "not JSON！不是 JSON"


def test_marks_alone_do_not_make_a_text_known():
    known = Templates([Entry("{a}: {b}", "{a}：{b}", frozenset("b")), Entry("not JSON", "不是 JSON")], "；")
    assert known.translate("relation: gone") == "relation: gone"
    assert known.translate("file: not JSON") == "file：不是 JSON"


@pytest.mark.parametrize("text", ["a: " * 600 + "x; " * 60, "a (b): " * 2000, "; ".join(["it is bad"] * 3000), " is ".join("(" * 300)])
def test_an_odd_text_costs_little(chinese, text):
    begin = time.monotonic()
    reported(text)
    assert time.monotonic() - begin < 2


def test_a_name_that_stands_twice_has_one_value():
    known = Templates([Entry("{a} is {a}", "{a} 同 {a}"), Entry("{a} is {b}", "{a} 异 {b}")], "；")
    assert [known.translate("x is x"), known.translate("x is y")] == ["x 同 x", "x 异 y"]


def test_joined_texts_are_translated_one_by_one_and_only_together():
    known = Templates([Entry("{a} is gone", "{a} 没有了")], "；")
    assert known.translate("x is gone; y is gone") == "x 没有了；y 没有了"
    assert known.translate("it; was never; known") == "it; was never; known"


def test_braces_and_marks_of_a_text_are_its_own():
    known = Templates([Entry("is {{a}} (x)", "是 {{a}}"), Entry("{a}.*", "{a}")], "；")
    assert known.translate("is {a} (x)") == "是 {a}"
    assert known.translate("anything") == "anything"


# Choosing the language


@pytest.mark.parametrize("arguments", [["--lang", "zh", "verify"], ["verify", "--lang", "zh"], ["verify", "--lang=zh"]])
def test_lang_may_stand_before_or_after_the_command(arguments):
    assert choose(arguments) == ["verify"]
    assert language() == "zh"


def test_what_stands_after_two_dashes_is_left_alone():
    assert choose(["export", "--", "--lang", "zh"]) == ["export", "--", "--lang", "zh"]
    assert language() == "en"


@pytest.mark.parametrize(("name", "value", "expected"), [
    ("LANG", "zh_CN.UTF-8", "zh"), ("LANG", "C.UTF-8", "en"), ("LANG", "de_DE", "en"),
    ("LC_ALL", "zh_TW", "zh"), ("CARESEAL_LANG", "zh", "zh"),
])  # fmt: skip
def test_environment_chooses(monkeypatch, name, value, expected):
    monkeypatch.setenv(name, value)
    choose([])
    assert language() == expected


def test_own_variable_goes_before_lang_and_the_option_before_both(monkeypatch):
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    monkeypatch.setenv("CARESEAL_LANG", "en")
    choose([])
    assert language() == "en"
    choose(["--lang", "zh"])
    assert language() == "zh"


@pytest.mark.parametrize("arguments", [["--lang", "fr"], ["--lang"], ["--lang="]])
def test_an_unknown_language_is_refused(arguments):
    with pytest.raises(ValueError, match="use en or zh"):
        choose(arguments)


def test_an_unknown_language_is_refused_in_the_language_of_the_environment(monkeypatch):
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    with pytest.raises(ValueError, match="--lang fr：请用 en 或 zh"):
        choose(["--lang", "fr"])


def test_english_is_what_the_source_says():
    set_language("en")
    assert _("INTACT") == "INTACT"
    assert reported("the journal has no entry 5") == "the journal has no entry 5"


# Errors


def error_of(act, *arguments) -> CaresealError:
    with pytest.raises(CaresealError) as raised:
        act(*arguments)
    return raised.value


def test_errors_are_translated(chinese, tmp_path):
    (tmp_path / "there.db").write_text("")
    bad_proof = error_of(verify_inclusion, b"\1" * 32, 5, 3, [], b"\0" * 32)
    for error, expected in (
        (error_of(open_source, "mysql://host/his"), "尚不支持 MySQL 和 MariaDB：请接入 SQLite 或 PostgreSQL"),
        (error_of(open_source, "oracle://host/his"),
         "不支持 oracle://：请写作 sqlite:////absolute/path.db 或 postgresql://user@host/database"),
        (error_of(read_settings, tmp_path),
         f"{tmp_path} 不是 Careseal 主目录：请用 careseal init --home {tmp_path} --name NAME 创建"),
        (bad_proof, "共 3 个叶的树中没有第 5 个叶"),
        (error_of(wire.decode_entry, b"\x07" * 40), "未知的日志条目版本"),
        (error_of(canonical.decode, b'{"b":1,"a":2}'), "不是规范的 JSON 对象"),
        (EvidenceInvalid("record", str(bad_proof)), "记录：共 3 个叶的树中没有第 5 个叶"),
        (EvidenceInvalid("storage", "proof: a node is malformed (RLP: ends early)"), "合约存储：证明：有节点格式错误（RLP：提前结束）"),
        (ContractRefused("history rewritten"), "合约拒绝：历史被改写"),
        (HomeError("cannot read /home/h: Permission denied"), "无法读取 /home/h：权限不足"),
        (ProofError(f"inclusion proof: expected root {'a' * 64}, computed {'b' * 64}"),
         f"包含证明：应有的根哈希 {'a' * 64}，算出的根哈希 {'b' * 64}"),
        (error_of(build_hospital, tmp_path / "there.db", 1), f"{tmp_path / 'there.db'} 已存在，不会被覆盖：请另选文件名，或先将其移走。"),
        (SampleError("A site is a positive number: use --site 1, --site 2 and so on."), "医院编号须为正整数：请用 --site 1、--site 2 等。"),
        (error_of(EmbeddedChain.open, tmp_path, None, lambda: 0.0), f"{tmp_path} 中没有链；请用 init 创建，或另指定目录"),
    ):  # fmt: skip
        assert cli.translated(error) == expected, str(error)


def test_errors_of_a_database_are_translated(chinese, tmp_path):
    file = tmp_path / "his.db"
    file.write_bytes(b"no database at all, and long enough to be looked at" * 40)

    def look():
        with open_source(f"sqlite:///{file}").snapshot() as snapshot:
            snapshot.describe("visit", None)

    assert cli.translated(error_of(look)) == f"{file}：该文件不是 SQLite 数据库：请检查路径"


def test_an_unreachable_chain_is_told_in_chinese(chinese):
    def reach():
        with connect("http://127.0.0.1:9", None, lambda: 0.0):
            pass

    assert cli.translated(error_of(reach)) == "无法连接 http://127.0.0.1:9；请启动节点或检查地址"


def test_an_unknown_text_stays_as_it_is(chinese):
    assert cli.translated(CaresealError("nobody  wrote\nthis down")) == "nobody wrote this down"


def told(capsys, *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code, capsys.readouterr().err.strip()


@pytest.mark.parametrize(("arguments", "expected"), [
    (["verify"], "缺少选项 '--home'（或环境变量 'CARESEAL_HOME'）；用法见 careseal verify --help"),
    (["evidence", "verify"], "缺少参数 'FILE'；用法见 careseal evidence verify --help"),
    (["verfy"], "没有命令 'verfy'。是否要用 'verify'？；用法见 careseal --help"),
    (["verify", "--hoem", "x"], "没有选项 --hoem（相近的选项：--help, --home）；用法见 careseal verify --help"),
    (["verify", "--home"], "选项 '--home' 须带一个值"),
    (["verify", "--home", "x", "--json=1"], "选项 '--json' 不带值"),
    (["node", "run", "--port", "x"], "'--port' 的值无效：应为整数；用法见 careseal node run --help"),
    (["node", "run", "--port", "-1"], "'--port' 的值无效：不得小于 0；用法见 careseal node run --help"),
    (["node", "run", "--port", "99999"], "'--port' 的值无效：不得大于 65535；用法见 careseal node run --help"),
    (["run", "--home", "x", "--every", "0s"], "值无效：--every 不得小于 1s，也不得大于 --full-audit-every；用法见 careseal run --help"),
    (["run", "--home", "x", "--every", "soon"], "soon 不是时长：请写作 90s、30m、24h 或 2d"),
])  # fmt: skip
def test_usage_errors_are_one_chinese_line(capsys, monkeypatch, arguments, expected):
    monkeypatch.delenv("CARESEAL_HOME", raising=False)
    assert told(capsys, "--lang", "zh", *arguments) == (FAILED, f"careseal: {expected}")


def test_usage_errors_are_one_english_line(capsys, monkeypatch):
    monkeypatch.delenv("CARESEAL_HOME", raising=False)
    expected = "careseal: Missing option '--home' (env var: 'CARESEAL_HOME'); see careseal verify --help"
    assert told(capsys, "verify") == (FAILED, expected)


def test_every_listed_word_of_a_library_is_translated(chinese):
    for text in foreign.REPORTED:
        assert re.search("[\u4e00-\u9fff]", reported(text.format(**dict.fromkeys(extract.in_order(text), "x")))), text


# Output

AUDIT = AuditResult(9, 3, 1, [TableResult("visit", 3, 1, 1, False)], [
    Finding(FindingKind.ALTERED, "visit", {"visit_id": 7}, ("status",), 2, "root", IntactAt(1, 8, b"\1" * 32, 4, 0.0),
            before={"status": "open"}, after={"status": "closed"}),
    Finding(FindingKind.CAPTURE_DISABLED, "visit", detail="trigger a is missing; trigger b was changed"),
    Finding(FindingKind.ROLLED_BACK, None, detail="the journal has 9 entries, 12 are known outside: restore it from the mirror"),
])  # fmt: skip


def test_json_is_the_same_in_every_language(chinese):
    in_chinese = json.dumps(console.audit_json(Verified(AUDIT, False), 1.0))
    set_language("en")
    assert in_chinese == json.dumps(console.audit_json(Verified(AUDIT, False), 1.0))
    assert '"capture_disabled"' in in_chinese
    assert "trigger a is missing" in in_chinese


def test_an_audit_is_told_in_chinese(chinese, capsys):
    console.print_audit(Verified(AUDIT, False), 1.0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "未留痕修改  visit [visit_id=7]  列：status  写入者 root  截至 1970-01-01T00:00:00Z 完好（区块 4）"
    assert lines[1] == "    status：修改前：open  修改后：closed"
    assert lines[2] == "采集失效  visit  缺少触发器 a；触发器 b 被改动"
    assert lines[3] == "存证日志被回退  存证日志  存证日志有 9 条，而外部已知有 12 条：请从镜像恢复"
    assert lines[4] == "审计 1 张表 3 行，用时 1.00 秒（每秒 3 行），1 行待固化"
    assert lines[-1] == "发现 3 处疑点"
    assert not english_in("\n".join(lines))


HELP_PAGES = """
from api.language import choose
choose(["--lang", "zh"])
from api.commands import build
from api.headings import translated_command
def pages(command, path):
    print("#", *path, flush=True)
    translated_command(build())([*path, "--help"], prog_name="careseal", standalone_mode=False)
    for name, below in getattr(command, "commands", {}).items():
        pages(below, [*path, name])
pages(translated_command(build()), [])
"""


def test_every_help_page_is_chinese_and_whole():
    shown = subprocess.run([sys.executable, "-c", HELP_PAGES], cwd=ROOT, env=os.environ | {"COLUMNS": "90"}, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    pages = dict(re.findall(r"^# ?(.*)\n((?:(?!#).*\n)*)", shown.stdout, re.MULTILINE))
    assert {"", "verify", "evidence export", "node new-generation", "restore"} <= set(pages)
    for path, page in pages.items():
        assert "用法：careseal" in page
        assert "显示本说明并退出。" in page, path
        assert not english_in(page), (path, english_in(page))
        assert "…" not in page, (path, page)


def test_the_command_line_speaks_chinese(tmp_path):
    ended = run("sample-hospital", str(tmp_path / "his.db"), "--lang", "zh")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(r".*his\.db：\d+ 张表，\d+ 行\n", ended.stdout)
    assert "not" in run("verify", "--home", str(tmp_path)).stderr
    assert "不是 Careseal 主目录" in run("verify", "--home", str(tmp_path), LANG="zh_CN.UTF-8").stderr


def test_a_terminal_that_knows_no_chinese_gets_no_traceback(tmp_path):
    ended = run("sample-hospital", str(tmp_path / "his.db"), "--lang", "zh", PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "\\u5f20\\u8868" in ended.stdout


@pytest.mark.slow
def test_the_demo_runs_in_chinese(tmp_path):
    ended = run("demo", "--folder", str(tmp_path / "demo"), "--lang", "zh")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    refused = ended.stderr.splitlines()  # erasures that the demo shows to be refused
    assert [("封存" in line, "须保存 15 年" in line) for line in refused] == [(True, False), (False, True)], ended.stderr
    for line in [*ended.stdout.splitlines(), *refused]:
        if not re.match(r"\s*(sql>|sqlite3|CARESEAL_PASSPHRASE|\$ careseal)", line):
            assert not english_in(line), line
    for word in (
        "在变更窗口", "关联销毁后数据仍在", "修改留痕", "未留痕修改", "删除", "未留痕新增", "采集失效", "历史被改写",
        "存证日志被回退", "有效", "无效"
    ):  # fmt: skip
        assert word in ended.stdout, word
    left = [Path(line.split()[0]) for line in ended.stdout.partition("留下供查看的文件：")[2].splitlines() if line.startswith("    /")]
    assert {"list-0001.pdf", "erasure.json", "erasure.pdf", "field.json", "field.pdf", "evidence.json"} <= {path.name for path in left}
    assert all(path.exists() for path in left)
