"""The tables of a sample hospital, written once in PostgreSQL's words and turned into SQLite's by replacing type names.

SQLite keeps dates and times as ISO 8601 text, decimals in its own NUMERIC (`1.10` becomes `1.1` there), JSON and UUID as text.
"""

from __future__ import annotations

import re

_TABLES = """
CREATE TABLE department (
    dept_code varchar(8) NOT NULL PRIMARY KEY,
    name text NOT NULL,
    name_zh text NOT NULL,
    inpatient boolean NOT NULL,
    floor smallint NOT NULL
);

CREATE TABLE practitioner (
    practitioner_id bigint NOT NULL PRIMARY KEY,
    dept_code varchar(8) NOT NULL REFERENCES department (dept_code),
    name text NOT NULL,
    name_zh text NOT NULL,
    sex char(1) NOT NULL CHECK (sex IN ('F', 'M')),
    role varchar(16) NOT NULL,
    title_zh text NOT NULL,
    licence_no varchar(24) UNIQUE,
    hired_on date NOT NULL,
    left_on date
);

CREATE TABLE signature (
    digest bytea NOT NULL PRIMARY KEY,
    practitioner_id bigint NOT NULL REFERENCES practitioner (practitioner_id),
    image bytea NOT NULL,
    valid_from date NOT NULL,
    revoked_at timestamptz
);

CREATE TABLE patient (
    patient_id varchar(12) NOT NULL PRIMARY KEY,
    national_id char(18) NOT NULL UNIQUE,
    name_zh text NOT NULL,
    name_latin text NOT NULL,
    sex char(1) NOT NULL CHECK (sex IN ('F', 'M')),
    birth_date date NOT NULL,
    deceased_at timestamptz,
    phone varchar(20),
    address text,
    marital_status varchar(16),
    insurance varchar(24) NOT NULL,
    allergies jsonb,
    emergency_contact jsonb,
    registered_at timestamptz NOT NULL,
    remark text
);

CREATE TABLE visit (
    visit_id bigint NOT NULL PRIMARY KEY,
    patient_id varchar(12) NOT NULL REFERENCES patient (patient_id),
    dept_code varchar(8) NOT NULL REFERENCES department (dept_code),
    attending_id bigint NOT NULL REFERENCES practitioner (practitioner_id),
    visit_class varchar(12) NOT NULL CHECK (visit_class IN ('outpatient', 'emergency', 'inpatient', 'home')),
    visit_type text NOT NULL,
    visit_type_zh text,
    reason_code varchar(20),
    reason text,
    reason_zh text,
    status varchar(8) NOT NULL CHECK (status IN ('open', 'closed')),
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    closed_at timestamptz,
    bed_no varchar(8),
    disposition text
);

CREATE TABLE appointment (
    appointment_id bigint NOT NULL PRIMARY KEY,
    patient_id varchar(12) NOT NULL REFERENCES patient (patient_id),
    dept_code varchar(8) NOT NULL REFERENCES department (dept_code),
    visit_id bigint UNIQUE REFERENCES visit (visit_id),
    booked_at timestamptz NOT NULL,
    scheduled_at timestamptz NOT NULL,
    channel varchar(12) NOT NULL,
    status varchar(10) NOT NULL CHECK (status IN ('attended', 'cancelled', 'no_show')),
    deposit numeric(8,2) NOT NULL,
    note text
);

CREATE TABLE bed_day (
    visit_id bigint NOT NULL REFERENCES visit (visit_id),
    day date NOT NULL,
    bed_no varchar(8) NOT NULL,
    nursing_level smallint NOT NULL,
    nurse_id bigint NOT NULL REFERENCES practitioner (practitioner_id),
    temperature numeric(4,1) NOT NULL,
    remark text,
    PRIMARY KEY (visit_id, day)
);

CREATE TABLE diagnosis (
    visit_id bigint NOT NULL REFERENCES visit (visit_id),
    seq smallint NOT NULL,
    kind varchar(10) NOT NULL CHECK (kind IN ('principal', 'secondary')),
    code varchar(20) NOT NULL,
    icd10 varchar(8),
    display text NOT NULL,
    display_zh text,
    active boolean NOT NULL,
    onset_date date NOT NULL,
    abated_on date,
    recorded_at timestamptz NOT NULL,
    recorded_by bigint NOT NULL REFERENCES practitioner (practitioner_id),
    PRIMARY KEY (visit_id, seq)
);

CREATE TABLE procedure_record (
    visit_id bigint NOT NULL REFERENCES visit (visit_id),
    seq smallint NOT NULL,
    code_system varchar(8) NOT NULL,
    code varchar(20) NOT NULL,
    display text NOT NULL,
    display_zh text,
    indication text,
    performed_by bigint NOT NULL REFERENCES practitioner (practitioner_id),
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (visit_id, seq)
);

CREATE TABLE reference_range (
    item_code varchar(12) NOT NULL,
    sex char(1) NOT NULL CHECK (sex IN ('A', 'F', 'M')),
    from_age numeric(5,2) NOT NULL,
    low numeric,
    high numeric,
    critical_low numeric,
    critical_high numeric,
    PRIMARY KEY (item_code, sex, from_age)
);

CREATE TABLE lab_result (
    accession_no varchar(16) NOT NULL,
    item_code varchar(12) NOT NULL,
    visit_id bigint NOT NULL REFERENCES visit (visit_id),
    patient_id varchar(12) NOT NULL REFERENCES patient (patient_id),
    category varchar(16) NOT NULL,
    panel text NOT NULL,
    item_name text NOT NULL,
    item_name_zh text,
    value_num numeric,
    value_text text,
    value_text_zh text,
    unit varchar(24),
    ref_low numeric,
    ref_high numeric,
    abnormal_flag varchar(2) CHECK (abnormal_flag IN ('H', 'L', 'HH', 'LL')),
    collected_at timestamptz NOT NULL,
    reported_at timestamptz NOT NULL,
    reported_by bigint NOT NULL REFERENCES practitioner (practitioner_id),
    verified_at timestamptz,
    verified_by bigint REFERENCES practitioner (practitioner_id),
    PRIMARY KEY (accession_no, item_code)
);

CREATE TABLE drug_order (
    order_no varchar(16) NOT NULL PRIMARY KEY,
    visit_id bigint NOT NULL REFERENCES visit (visit_id),
    patient_id varchar(12) NOT NULL REFERENCES patient (patient_id),
    drug_code varchar(12) NOT NULL,
    drug_name text NOT NULL,
    drug_name_zh text,
    route varchar(16) NOT NULL,
    daily_dose numeric(8,3),
    as_needed boolean NOT NULL,
    days_supply smallint,
    quantity numeric(10,2) NOT NULL,
    indication text,
    dosage jsonb,
    status varchar(8) NOT NULL CHECK (status IN ('active', 'stopped')),
    ordered_at timestamptz NOT NULL,
    ordered_by bigint NOT NULL REFERENCES practitioner (practitioner_id),
    stopped_at timestamptz
);

CREATE TABLE dispensing (
    order_no varchar(16) NOT NULL REFERENCES drug_order (order_no),
    fill_no smallint NOT NULL,
    quantity numeric(10,2) NOT NULL,
    returned numeric(10,2),
    unit_price numeric(10,4) NOT NULL,
    batch_no varchar(16) NOT NULL,
    expires_on date NOT NULL,
    dispensed_at timestamptz NOT NULL,
    dispensed_by bigint NOT NULL REFERENCES practitioner (practitioner_id),
    checked_by bigint REFERENCES practitioner (practitioner_id),
    PRIMARY KEY (order_no, fill_no)
);

CREATE TABLE charge (
    bill_no varchar(16) NOT NULL,
    line_no smallint NOT NULL,
    visit_id bigint NOT NULL REFERENCES visit (visit_id),
    patient_id varchar(12) NOT NULL REFERENCES patient (patient_id),
    kind varchar(12) NOT NULL CHECK (kind IN ('registration', 'bed', 'procedure', 'laboratory', 'drug')),
    item_code varchar(20) NOT NULL,
    item_name text NOT NULL,
    quantity numeric(10,2) NOT NULL,
    unit_price numeric(10,4) NOT NULL,
    amount numeric(12,2) NOT NULL,
    insured_amount numeric(12,2) NOT NULL,
    charged_at timestamptz NOT NULL,
    paid_at timestamptz,
    PRIMARY KEY (bill_no, line_no)
);

CREATE TABLE document (
    document_id uuid NOT NULL PRIMARY KEY,
    visit_id bigint NOT NULL REFERENCES visit (visit_id),
    patient_id varchar(12) NOT NULL REFERENCES patient (patient_id),
    doc_type varchar(24) NOT NULL,
    title text NOT NULL,
    title_zh text NOT NULL,
    version_no smallint NOT NULL,
    replaces uuid UNIQUE REFERENCES document (document_id),
    status varchar(12) NOT NULL CHECK (status IN ('draft', 'signed', 'superseded', 'archived')),
    author_id bigint NOT NULL REFERENCES practitioner (practitioner_id),
    body text NOT NULL,
    structured jsonb,
    created_at timestamptz NOT NULL,
    signed_at timestamptz,
    signature bytea REFERENCES signature (digest),
    archived_at timestamptz
);

CREATE TABLE quality_event (
    event_date date NOT NULL,
    seq smallint NOT NULL,
    kind varchar(24) NOT NULL,
    severity smallint NOT NULL,
    visit_id bigint REFERENCES visit (visit_id),
    patient_id varchar(12) REFERENCES patient (patient_id),
    summary_zh text NOT NULL,
    details jsonb NOT NULL,
    raised_by bigint REFERENCES practitioner (practitioner_id),
    raised_at timestamptz NOT NULL,
    closed_at timestamptz,
    conclusion text,
    PRIMARY KEY (event_date, seq)
);
"""

_INDEXES = """
CREATE INDEX visit_patient ON visit (patient_id, started_at);
CREATE INDEX lab_result_patient ON lab_result (patient_id, reported_at);
CREATE INDEX lab_result_visit ON lab_result (visit_id);
CREATE INDEX document_visit ON document (visit_id);
CREATE INDEX charge_visit ON charge (visit_id);
CREATE INDEX drug_order_visit ON drug_order (visit_id);
"""

TABLES = tuple(re.findall(r"^CREATE TABLE (\w+)", _TABLES, re.MULTILINE))
"""The tables' names; a table comes after those it refers to."""

_SQLITE = {
    "bigint": "INTEGER",
    "smallint": "INTEGER",
    "numeric": "NUMERIC",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamptz": "TIMESTAMP",
    "varchar": "VARCHAR",
    "char": "CHAR",
    "text": "TEXT",
    "jsonb": "TEXT",
    "uuid": "TEXT",
    "bytea": "BLOB",
}


def postgres_ddl() -> str:
    """The statements that create the empty tables in the first schema of the search path."""
    return _TABLES + _INDEXES


def sqlite_ddl() -> str:
    """The same tables in SQLite's words; `visit_id` and its like become the row's integer key."""
    return re.sub(r"(?m)^(    \w+ )([a-z]+)\b", lambda m: m[1] + _SQLITE[m[2]], _TABLES) + _INDEXES
