"""docs/commands.md tells the truth: commands, options, exit codes, environment variables and JSON documents are the program's."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from command_reference import commands, options
from generate import documents
from trials import ROOT, Trial, blocks, quick_start
from world import needs_font

from anchoring import page as page_of
from ledger.findings import FindingKind
from ledger.intake.mapping import read_map
from ledger.migration import values
from ledger.migration.pairing import read_column_map

PAGE = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
PROSE = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "samples").rglob("*.md"))]
NAMES = {name: {option for parameter in options(command) for option in parameter.opts} for name, command in commands()}


@pytest.mark.parametrize("path", sorted(documents()), ids=lambda path: path.name)
def test_generated_parts_are_up_to_date(path: Any) -> None:
    assert path.read_text(encoding="utf-8") == documents()[path], "run python -m tests.docs.generate"


def test_every_command_has_its_section() -> None:
    assert set(re.findall(r"^### careseal (.+?)$", PAGE.partition("## JSON documents")[0], re.MULTILINE)) == NAMES.keys()


def test_every_argument_and_option_is_explained_by_its_own_command() -> None:
    assert not [(name, parameter.opts) for name, command in commands() for parameter in options(command) if not parameter.help]
    verified = PAGE.partition("### careseal evidence verify")[2].partition("###")[0]
    assert "| `FILE` | The evidence file. |" in verified  # `FILE` of `backup` and of others is another thing


def mentioned() -> Iterator[tuple[str, list[str]]]:
    """Every `careseal ...` in the documents, with the page it is on."""
    for path in PROSE:
        text = path.read_text(encoding="utf-8")
        for line in re.findall(r"`careseal ([a-z][^`\n]*)`", text) + re.findall(r"^ {4}careseal ([a-z].*)$", text, re.MULTILINE):
            yield path.name, line.split()


def test_commands_and_options_named_in_the_documents_exist() -> None:
    unknown = []
    for page, words in mentioned():
        name = " ".join(words[:2]) if " ".join(words[:2]) in NAMES else words[0]
        groups = {command.split()[0] for command in NAMES if " " in command}
        given = {word.partition("=")[0] for word in words if word.startswith("--")} - {"--json", "--lang", "--help", "--version"}
        if (name not in NAMES and not (name in groups and len(words) == 1)) or (name in NAMES and not given <= NAMES[name]):
            unknown.append((page, words))
    assert not unknown


def test_options_named_in_the_documents_exist() -> None:
    known = {"--help", "--lang", "--version", "--check"}.union(*NAMES.values())
    named = {option for path in PROSE for option in re.findall(r"`(--[a-z-]+)[^`]*`", path.read_text(encoding="utf-8"))}
    assert named <= known


def test_environment_variables_are_documented_and_exist() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "api").glob("*.py")))
    read = set(re.findall(r"\"(CARESEAL_[A-Z_]+|XDG_CONFIG_HOME|LC_ALL|LANG)\"", code))
    assert set(re.findall(r"^\| .*$", PAGE.partition("## Environment")[2].partition("## Reference")[0], re.MULTILINE))
    table = PAGE.partition("## Environment")[2].partition("## Reference")[0]
    assert set(re.findall(r"`([A-Z][A-Z_]+)`", "\n".join(line for line in table.splitlines() if line.startswith("|")))) == read


def example(heading: str) -> dict[str, Any]:
    """The JSON document shown under a heading."""
    return dict(json.loads(blocks(PAGE.partition(f"### {heading}\n")[2], "json")[0]))


def form(value: Any) -> Any:
    """The names and types of a document; a list by its first element, null like anything."""
    if isinstance(value, dict):
        return {name: form(item) for name, item in sorted(value.items())}
    if isinstance(value, list):
        return [form(value[0])] if value else []
    return type(value).__name__


def test_verify_document(trial: Trial) -> None:
    shown, real = example("careseal verify --json"), trial.json("careseal verify --home H --values --json", expect=1)
    altered = [finding for finding in real["findings"] if finding["kind"] == "altered"]
    assert form(real | {"findings": altered}) == form(shown)
    assert altered[0]["key"] == shown["findings"][0]["key"] and altered[0]["columns"] == shown["findings"][0]["columns"]
    assert (altered[0]["before"], altered[0]["after"]) == (shown["findings"][0]["before"], shown["findings"][0]["after"])


def test_verify_document_lists_every_kind() -> None:
    row = PAGE.partition("`findings[].kind`")[2].splitlines()[0]
    assert set(re.findall(r"`([a-z_]+)`", row)) == {kind.value for kind in FindingKind}


def test_seal_and_status_documents(trial: Trial) -> None:
    assert form(trial.json("careseal seal --home H --json")) == form(example("careseal seal --json"))
    assert form(trial.json("careseal status --home H --json")) == form(example("careseal status --json"))


def test_findings_and_window_documents(trial: Trial) -> None:
    (trial.folder / "own").write_text("a person's own")
    trial.run("careseal person create na.key --name 'Li Na' --key-passphrase-file own")
    trial.run("careseal person add na.key --home H --role staff")
    real = trial.json("careseal findings list --home H --json")
    named = next(finding["id"] for finding in real["findings"] if finding["kind"] == "altered")
    why = "--reason 'why' --ticket IT-7 --by na.key --key-passphrase-file own --home H"
    trial.run(f"careseal findings dismiss {named} {why}")
    real = trial.json("careseal findings list --home H --json")
    assert form(real | {"findings": []}) == form(example("careseal findings list --json"))
    trial.run(f"careseal change-window open --table lab_result --columns unit --from 2099-01-01 --until 2099-01-02 {why}")
    shown = example("careseal change-window list --json")
    assert form(trial.json("careseal change-window list --home H --json")) == form(shown)
    trial.run(f"careseal findings reopen {named} {why}")


def test_person_document(trial: Trial) -> None:
    (trial.folder / "secret").write_text("a person's own")
    trial.run("careseal person create li.key --name Li --key-passphrase-file secret")
    trial.run("careseal person add li.key --home H --role staff")
    assert form(trial.json("careseal person list --home H --json")) == form(example("careseal person list --json"))


@needs_font
def test_hold_retention_and_erasure_documents(tmp_path: Path) -> None:
    made = quick_start(tmp_path)
    (made.folder / "own").write_text("a person's own")
    for name in ("Chen", "Sun"):
        made.run(f"careseal person create {name}.key --name {name} --key-passphrase-file own")
        made.run(f"careseal person add {name}.key --home H --role staff")
    visit, patient = made.one("SELECT min(visit_id), max(patient_id) FROM visit")
    made.run(f"careseal hold create --home H --to held --table visit --key {visit} --reason dispute --for Chen")
    assert form(made.json("careseal hold list --home H --json")) == form(example("careseal hold list --json"))
    shown = example("careseal hold verify --json")
    assert made.json("careseal hold verify held --home H --by Chen.key --key-passphrase-file own --json") == shown | {"records": 1}
    both = "--by Chen.key --key-passphrase-file own --by Sun.key --key-passphrase-file own"
    erased = made.json(f"careseal erase {patient} --home H --reason asked --no-term 'for the test' {both} --json")
    assert form(erased) == form(example("careseal erase --json"))
    made.run("careseal retention set --home H --table visit --class outpatient --since started_at")
    assert form(made.json("careseal retention list --home H --json")) == form(example("careseal retention list --json"))


def test_evidence_document(trial: Trial) -> None:
    shown = example("careseal evidence verify --json")
    real = trial.json("careseal evidence verify visit.json --network H/network.json --values --json")
    assert form(real | {"values": {}}) == form(shown | {"values": {}})
    assert shown["values"].keys() <= real["values"].keys()


def test_page_document(trial: Trial) -> None:
    real = trial.json("careseal evidence page -o check.html --json")
    assert form(real) == form(example("careseal evidence page --json"))
    written = (trial.folder / "check.html").read_bytes()
    assert written == page_of.page() and real == {"file": "check.html", "bytes": len(written), "sha256": sha256(written).hexdigest()}
    said = trial.command(["evidence", "page", "-o", "check.html"]).stdout
    assert str(real["sha256"]) in said
    refused = trial.command(["evidence", "page", "-o", "nowhere/check.html"])
    assert refused.returncode == 2 and "cannot write nowhere/check.html" in refused.stderr and "Traceback" not in refused.stderr


def test_import_document(trial: Trial) -> None:
    (trial.folder / "fhir.db").touch()
    patients = ['{"resourceType": "Patient", "id": "a"}', '{"resourceType": "Patient", "id": "b"}', '{"resourceType": "Patient"}']
    (trial.folder / "patients.ndjson").write_text("\n".join(patients))
    shown = example("careseal import --json")
    real = trial.json("careseal import patients.ndjson --into sqlite:///fhir.db --values --json", expect=1)
    assert form(real) == form(shown)
    assert real | {"seconds": 0} == shown | {"seconds": 0}


def test_migrate_check_document(trial: Trial) -> None:
    trial.run('sqlite3 his.db "CREATE TABLE encounter AS SELECT * FROM visit"')
    trial.run("sqlite3 his.db \"UPDATE encounter SET dept_code = 'A02' WHERE rowid = 1\"")
    shown = example("careseal migrate-check --json")
    real = trial.json("careseal migrate-check --home H visit encounter --into sqlite:///his.db --values --json", expect=1)
    assert form(real | {"doubts": shown["doubts"]}) == form(shown)
    assert (real["counts"], real["changed_columns"], real["old_rows"]) == (shown["counts"], shown["changed_columns"], shown["old_rows"])


def test_maps_shown_are_maps(trial: Trial) -> None:
    imported, moved = blocks(PAGE.partition("## Importing")[2].partition("## JSON documents")[0], "json")
    path = trial.folder / "map.json"
    path.write_text(imported)
    assert read_map(path).delimiter == ","
    path.write_text(moved)
    assert read_column_map(path).added == ("imported_at",)


def test_rules_listed_are_those_there_are() -> None:
    text = PAGE.partition("| rule |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([a-z]+)` \|", text, re.MULTILINE) == list(values._RULES)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("careseal verify --home H", 1),
        ("careseal verify --home nowhere", 2),
        ("careseal verify --home H --table nothing", 2),
        ("careseal seal --home H --nonsense", 2),
        ("careseal evidence verify visit.json --network H/network.json", 0),
        ("careseal evidence verify cut.json --network H/network.json", 1),
        ("careseal evidence verify nothing.json --network H/network.json", 2),
        ("careseal evidence verify visit.json --network visit.json", 2),
    ],
)
def test_exit_codes(trial: Trial, line: str, code: int) -> None:
    (trial.folder / "cut.json").write_bytes((trial.folder / "visit.json").read_bytes()[:-40])
    done = trial.command(shlex.split(line)[1:])
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_wrong_passphrase_is_exit_code_2(trial: Trial) -> None:
    done = trial.command(["verify", "--home", "H"], CARESEAL_PASSPHRASE="another")
    assert done.returncode == 2 and "INTACT" not in done.stdout


def test_environment_variables_work(trial: Trial) -> None:
    unlock = trial.folder / "config" / "careseal" / "unlock"
    shutil.copyfile(unlock, trial.folder / "unlock-copy")
    settings = {"CARESEAL_HOME": "H", "CARESEAL_PASSPHRASE_FILE": "unlock-copy", "XDG_CONFIG_HOME": str(trial.folder / "nothing")}
    assert trial.command(["status", "--json"], **settings).returncode == 0
    settings = {"CARESEAL_HOME": "H", "CARESEAL_PASSPHRASE": unlock.read_text(), "XDG_CONFIG_HOME": str(trial.folder / "nothing")}
    assert trial.command(["status", "--json"], **settings).returncode == 0


def test_installed_command_is_the_program() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["scripts"] == {"careseal": "api.cli:main"}
    done = subprocess.run([sys.executable, "-m", "api.cli", "--version"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == project["project"]["version"]
