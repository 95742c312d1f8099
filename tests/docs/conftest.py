"""Fixtures of the documents' tests: the README's commands, run once."""

from __future__ import annotations

import pytest
from trials import Trial, quick_start, readme, recovery_passphrase


@pytest.fixture(scope="session")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """The quick start, evidence of a visit and of a result, then the README's alteration. `output` has one text for each block."""
    made = quick_start(tmp_path_factory.mktemp("trial"))
    (visit,) = made.one("SELECT max(visit_id) FROM visit")
    made.run(f"careseal evidence export visit {visit} --home H -o visit.json")
    accession, item = made.one("SELECT accession_no, item_code FROM lab_result WHERE value_num IS NOT NULL ORDER BY 1, 2")
    made.run(f"careseal evidence export lab_result '{accession}' '{item}' --home H -o result.json")
    made.output.append("".join(made.run(line, expect=None) for line in readme(2)))
    return made


@pytest.fixture(scope="session")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """The quick start in another folder, after which the home was brought back as NEW by the README's commands."""
    made = quick_start(tmp_path_factory.mktemp("lost"))
    (made.folder / "FILE").write_text(recovery_passphrase(made))
    made.output.append("".join(made.run(line) for line in readme(3)))
    return made
