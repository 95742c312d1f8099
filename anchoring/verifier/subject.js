// What evidence says of a record or an audit, held against the journal entries that commit to it. docs/spec.md, "Verification".

import { sha256 } from "@noble/hashes/sha2.js";
import { shake256 } from "@noble/hashes/sha3.js";
import { ascii, Broken, concat, demand, equal, fromHex, linked, toHex } from "./bytes.js";
import { AUDIT, CONFIGURATION, readEventEntry, readRecordEntry, tagWidth } from "./entries.js";
import { isObject, readCanonical } from "./json.js";
import { checkConsistency, checkInclusion, EMPTY_ROOT, leafHash } from "./merkle.js";
import { fieldsOf, shown } from "./rows.js";
import { sm3 } from "./sm3.js";

const DIGESTS = { 1: sha256, 2: sm3 };
const SALT_BYTES = 16;

export function openSubject(parts) {
    return parts.kind === "audit" ? openReport(parts.audit, parts.checkpoint) : openRecord(parts);
}

function openRecord(parts) {
    const { kind, checkpoint } = parts;
    const listed = kind === "history" ? parts.versions : [parts.record];
    const entries = listed.map((part) => linked("record", () => readRecordEntry(part.entry)));
    if (!entries.length) throw new Broken("history", "it has no version");
    const [first] = entries;
    if (["record", "fields"].includes(kind) && !first.hasContent) throw new Broken("record", "the journal entry commits to no row");
    const table = openTable(parts.configuration, checkpoint);
    if (table.index >= listed[0].index) throw new Broken("configuration", "it is not older than the record's entry");
    if (kind === "history") checkHistory(entries, listed);
    const versions = listed.map((part, i) => {
        const fields = kind === "fields" ? someFields(part.fields, entries[i], table) : allFields(part, entries[i], table);
        linked("journal", () => checkIncluded(part, checkpoint));
        return versionOf(part.index, entries[i], fields && table.columns.map((name, place) => [name, fields.get(place)]));
    });
    const hidden = kind === "fields" ? table.columns.filter((_, place) => !("value" in parts.record.fields[place])) : [];
    return { table: table.name, source_table: table.source, record: toHex(first.record), key: table.columns.slice(0, table.keys), hidden, versions };
}

function versionOf(index, entry, fields) {
    return {
        version: entry.version, entry: index, change: entry.kind, baseline: entry.isBaseline, captured: entry.isCaptured, marks: entry.marks,
        sealed_at: entry.time / 1000, values: fields && fields.filter(([, value]) => value !== undefined),
    };
}

// All versions of one record from the first on, each naming the one before.
function checkHistory(entries, listed) {
    let previous = -1;
    entries.forEach((entry, i) => {
        const follows = equal(entry.record, entries[0].record) && entry.version === i + 1 && entry.previous === previous;
        if (!follows) throw new Broken("history", `version ${i + 1} does not follow the one before it`);
        if (listed[i].index <= previous) throw new Broken("history", `version ${i + 1} stands before the one that it follows`);
        previous = listed[i].index;
    });
}

// Each column's place and value, once the row opens the entry's row digest, field root and tags; null where there is no row.
function allFields(part, entry, table) {
    const { row, secret } = part;
    const fields = linked("record", () => {
        demand((row === null) === (secret === null), "a row without its secret");
        if (row === null) return null;
        demand(entry.hasContent, "a row where the entry commits to none");
        demand(secret.length === 32, "the secret does not have 32 bytes");
        const digest = DIGESTS[entry.algorithm];
        demand(equal(digest(concat(secret, row)), entry.rowDigest), "the row is not the one that was committed to");
        const split = fieldsOf(table.encoding, row);
        demand(split.length === entry.columns, "the fields are not the ones that were committed to");
        const domain = concat(ascii("careseal/v1/fields"), Uint8Array.of(entry.algorithm), secret);
        const salts = shake256(domain, { dkLen: SALT_BYTES * split.length });
        const salted = split.map((field, i) => digest(concat(salts.subarray(SALT_BYTES * i, SALT_BYTES * (i + 1)), field)));
        checkFields(entry, salted);
        return split;
    });
    checkTable(entry, table, fields?.length);
    return fields && displayed(table, fields.entries());
}

// The same of the fields that are opened, once they and the digests of the others give the entry's field root and tags.
function someFields(parts, entry, table) {
    const opened = [...parts.entries()].filter(([, part]) => "value" in part).map(([place, part]) => [place, part.value]);
    linked("record", () => {
        demand(parts.every((part) => ("value" in part ? part.salt.length === SALT_BYTES : part.digest.length === 32)), "a salt or a digest of another length");
        demand(opened.length > 0, "no field is opened");
        const digest = DIGESTS[entry.algorithm];
        checkFields(entry, parts.map((part) => ("value" in part ? digest(concat(part.salt, part.value)) : part.digest)));
    });
    checkTable(entry, table, parts.length);
    return displayed(table, opened);
}

function checkFields(entry, digests) {
    const tags = concat(...digests.map((digest) => digest.subarray(0, tagWidth(digests.length))));
    const root = DIGESTS[entry.algorithm](concat(ascii("careseal/v1/root"), ...digests));
    const same = digests.length === entry.columns && equal(tags, entry.tags) && equal(root, entry.fieldRoot);
    demand(same, "the fields are not the ones that were committed to");
}

function checkTable(entry, table, columns = table.columns.length) {
    if (entry.table !== table.id || columns !== table.columns.length) throw new Broken("configuration", "it describes another table");
}

function displayed(table, fields) {
    return linked("record", () => new Map(Array.from(fields, ([place, field]) => [place, shown(table.encoding, field)])));
}

// The description of the table, once it opens its configuration entry and that is in the journal.
function openTable(part, checkpoint) {
    const { document } = openDocument("configuration", part, CONFIGURATION, checkpoint);
    return linked("configuration", () => {
        const { attach } = document;
        demand(isObject(attach) && Array.isArray(attach.columns) && Array.isArray(attach.key_kinds), "it does not describe a table");
        const columns = attach.columns.map((column) => column.name);
        const texts = [attach.encoding, attach.table, attach.source_table, ...columns];
        const keys = attach.key_kinds.length;
        const isTable = texts.every((text) => typeof text === "string") && Number.isInteger(attach.id) && keys > 0 && keys <= columns.length;
        demand(isTable, "it does not describe a table");
        return { id: attach.id, name: attach.table, source: attach.source_table, encoding: attach.encoding, columns, keys, index: part.index };
    });
}

// An audit's report, once it opens its entry, that is in the journal, and what was audited is the journal's beginning.
function openReport(part, checkpoint) {
    const { document, time } = openDocument("audit", part, AUDIT, checkpoint);
    return linked("audit", () => {
        const { audit } = document;
        demand(isObject(audit) && Array.isArray(audit.tables), "it is not the report of an audit");
        demand([audit.at, audit.size, audit.findings].every(Number.isInteger) && audit.size >= 0, "it is not the report of an audit");
        const root = fromHex(audit.root);
        demand(audit.size <= part.index, "its entry is older than what was audited");
        if (audit.size) checkConsistency(audit.size, checkpoint.size, root, checkpoint.root, part.consistency);
        else demand(equal(root, EMPTY_ROOT) && part.consistency.length === 0, "an audit of no entries has another root");
        return { entry: part.index, sealed_at: time / 1000, audit };
    });
}

// The document of an event, once it opens its entry and that is in the journal.
function openDocument(link, part, kind, checkpoint) {
    return linked(link, () => {
        const { time, commitment } = readEventEntry(part.entry, kind);
        const digest = sha256(concat(ascii("careseal/v1/document"), part.salt, part.document));
        demand(part.salt.length === 32 && equal(digest, commitment), "the document is not the one that was committed to");
        const document = readCanonical(part.document);
        demand(isObject(document), "the document is no object");
        checkIncluded(part, checkpoint);
        return { document, time };
    });
}

function checkIncluded(part, checkpoint) {
    checkInclusion(leafHash(part.entry), part.index, checkpoint.size, part.proof, checkpoint.root);
}
