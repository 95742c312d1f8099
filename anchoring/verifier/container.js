// The container of evidence: one canonical JSON file, read strictly and within bounds. docs/spec.md, "Evidence file".

import { demand, fromHex } from "./bytes.js";
import { isObject, readCanonical } from "./json.js";

const VERSION = "evidence/2";
const MAX_BYTES = 2 ** 25;
const MAX_PIECES = 2 ** 18; // brackets and commas
const MAX_NODES = 65;
const MAX_HEADERS = 4096;
const MAX_VERSIONS = 1024;
const MAX_COLUMNS = 256;

// What each byte counts as: 0 nothing that evidence is made of, 1 a letter of it, 2 one that begins a further piece.
const LETTERS = new Uint8Array(256);
for (const letter of '0123456789abcdefghijklmnopqrstuvwxyz_/}]:"') LETTERS[letter.charCodeAt(0)] = 1;
for (const letter of "[{,") LETTERS[letter.charCodeAt(0)] = 2;

// Each form is a function that returns what a value stands for, and throws for any other.

function text(value) {
    return value;
}

function hex(value) {
    return fromHex(value);
}

function hexOrNull(value) {
    return value === null ? null : fromHex(value);
}

function integer(value) {
    demand(Number.isSafeInteger(value) && value >= 0, "a number is not what it should be");
    return value;
}

function many(form, limit) {
    return (value) => {
        demand(Array.isArray(value) && value.length <= limit, "a list is missing or too long");
        return value.map(form);
    };
}

function hasExactly(value, form) {
    return isObject(value) && Object.keys(value).length === Object.keys(form).length && Object.keys(form).every((name) => name in value);
}

function object(form) {
    return (value) => {
        demand(hasExactly(value, form), "a field is missing or unknown");
        return Object.fromEntries(Object.entries(form).map(([name, inner]) => [name, inner(value[name])]));
    };
}

const HIDDEN = { digest: hex };
const OPENED = { salt: hex, value: hex };

function field(value) {
    return object(hasExactly(value, OPENED) ? OPENED : HIDDEN)(value);
}

const PROOF = many(hex, MAX_NODES);
const HEADERS = many(hex, MAX_HEADERS);
const INCLUDED = { entry: hex, index: integer, proof: PROOF };
const DOCUMENT = { ...INCLUDED, document: hex, salt: hex };
const VERSIONED = { ...INCLUDED, row: hexOrNull, secret: hexOrNull };

const FORMAT = {
    careseal: text,
    kind: text,
    chain: object({ after: HEADERS, before: HEADERS, header: hex }),
    checkpoint: object({ chain_id: integer, generation: integer, index: integer, institution: integer, root: hex, size: integer }),
    institution: object({ account: PROOF, name: hex, proof: PROOF }),
    storage: object({ account: PROOF, meta: PROOF, root: PROOF }),
};
const KINDS = {
    record: { configuration: object(DOCUMENT), record: object({ ...INCLUDED, row: hex, secret: hex }) },
    fields: { configuration: object(DOCUMENT), record: object({ ...INCLUDED, fields: many(field, MAX_COLUMNS) }) },
    history: { configuration: object(DOCUMENT), versions: many(object(VERSIONED), MAX_VERSIONS) },
    latest: { configuration: object(DOCUMENT), record: object(VERSIONED) },
    audit: { audit: object({ ...DOCUMENT, consistency: PROOF }) },
};

// What a file of any kind may have besides.
const OPTIONAL = { timestamp: object({ consistency: PROOF, receipt: hex, token: hex }) };

// The parts of an evidence file, with bytes for hex.
export function readContainer(data) {
    demand(data.length <= MAX_BYTES, `larger than ${MAX_BYTES} bytes`);
    const body = data[data.length - 1] === 10 ? data.subarray(0, -1) : data;
    let pieces = 0;
    for (const letter of body) {
        demand(LETTERS[letter] > 0, "no evidence, or edited: it has other letters than evidence has");
        if (LETTERS[letter] === 2) pieces++;
    }
    demand(pieces <= MAX_PIECES, "no evidence, or edited: it has more parts than evidence has");
    const values = readCanonical(body);
    demand(isObject(values) && typeof values.careseal === "string" && values.careseal.startsWith("evidence/"), "not Careseal evidence");
    demand(values.careseal === VERSION, `${values.careseal.slice(0, 40)}, this page reads ${VERSION}`);
    demand(typeof values.kind === "string" && Object.hasOwn(KINDS, values.kind), "evidence of a kind that this page does not know");
    const given = "timestamp" in values ? OPTIONAL : {};
    return object({ ...FORMAT, ...KINDS[values.kind], ...given })(values);
}
