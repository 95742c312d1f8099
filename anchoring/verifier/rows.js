// Canonical bytes of rows, and how their values are shown. docs/spec.md, "Rows".

import { demand, equal, toHex } from "./bytes.js";

const MAX_COLUMNS = 256;
const [BRACKET, NULL, INT, LONG, REAL, BLOB, TEXT] = Array.from("(Nilfsu", (letter) => letter.charCodeAt(0));
const TAB = 9;
const BACKSLASH = 92;

// The bytes of each column of a row.
export function fieldsOf(encoding, row) {
    if (encoding === "pgtext/1") return splitAtTabs(row);
    demand(encoding === "sqlite/1", "unknown row encoding");
    return sqliteFields(row);
}

function splitAtTabs(row) {
    const parts = [];
    let from = 0;
    row.forEach((byte, at) => {
        if (byte !== TAB) return;
        parts.push(row.subarray(from, at));
        from = at + 1;
    });
    return [...parts, row.subarray(from)];
}

function view(bytes) {
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function sqliteFields(row) {
    demand(row.length >= 5 && row[0] === BRACKET, "a sqlite/1 row begins with '(' and its column count");
    const count = view(row).getUint32(1, true);
    demand(count >= 1 && count <= MAX_COLUMNS, `a row has 1 to ${MAX_COLUMNS} columns`);
    const parts = [];
    let at = 5;
    for (let column = 0; column < count; column++) {
        const end = at + sizeOf(row.subarray(at));
        demand(end <= row.length, "a sqlite/1 row is truncated");
        parts.push(row.subarray(at, end));
        at = end;
    }
    demand(at === row.length, "a sqlite/1 row has bytes after its last column");
    return parts;
}

// Bytes of the value that begins here.
function sizeOf(rest) {
    const tag = rest[0];
    if (tag === NULL) return 1;
    if (tag === REAL && rest.length >= 2) return 2 + rest[1];
    demand([INT, LONG, BLOB, TEXT].includes(tag) && rest.length >= 5, "a sqlite/1 row is truncated or has an unknown value tag");
    if (tag === INT) return 5;
    return tag === LONG ? 5 + 2 * Math.abs(view(rest).getInt32(1, true)) : 5 + view(rest).getUint32(1, true);
}

// A column's value for people, null for NULL; refused unless it is the one encoding of its value.
export function shown(encoding, field) {
    return encoding === "pgtext/1" ? shownPostgres(field) : shownSqlite(field);
}

function shownSqlite(field) {
    demand(field.length > 0 && sizeOf(field) === field.length, "a sqlite/1 value has a wrong length");
    const body = field.subarray(5);
    switch (field[0]) {
        case NULL:
            return null;
        case INT:
            return String(view(field).getInt32(1, true));
        case LONG:
            return String(longInteger(field));
        case REAL:
            return shownReal(String.fromCharCode(...field.subarray(2)));
        case BLOB:
            return toHex(body);
        default:
            return shownText(body);
    }
}

function longInteger(field) {
    const count = view(field).getInt32(1, true);
    demand(count !== 0 && Math.abs(count) <= 5, "a sqlite/1 integer is beyond 64 bits");
    let size = 0n;
    for (let place = Math.abs(count) - 1; place >= 0; place--) {
        const digit = view(field).getUint16(5 + 2 * place, true);
        demand(digit < 2 ** 15 && (digit !== 0 || place !== Math.abs(count) - 1), "a sqlite/1 integer is not in its canonical encoding");
        size = (size << 15n) | BigInt(digit);
    }
    const value = count > 0 ? size : -size;
    demand(BigInt.asIntN(64, value) === value && BigInt.asIntN(32, value) !== value, "a sqlite/1 integer is not in its canonical encoding");
    return value;
}

function shownReal(written) {
    demand(/^-?(inf|[0-9]+(\.[0-9]+)?(e[+-][0-9]{2,3})?)$/.test(written), "a sqlite/1 real is not in its canonical encoding");
    if (written.endsWith("inf")) return written;
    const value = Number(written);
    demand(Number.isFinite(value) && printed(value) === written, "a sqlite/1 real is not in its canonical encoding");
    return shortest(value);
}

// A real as C's printf writes it with %.17g. toPrecision() would round ties up; printf rounds them to even.
function printed(value) {
    const [all, power] = Math.abs(value).toExponential(100).replace(".", "").split("e");
    let digits = BigInt(all.slice(0, 17));
    const rest = all.slice(17);
    const half = "5".padEnd(rest.length, "0");
    if (rest > half || (rest === half && digits % 2n === 1n)) digits += 1n;
    const text = String(digits).padStart(17, "0");
    const exponent = Number(power) + text.length - 17;
    const bare = text.replace(/0+$/, "") || "0";
    return sign(value) + (exponent < -4 || exponent >= 17 ? scientific(bare, exponent) : positional(bare, exponent));
}

// A real in its shortest form that reads back as the same, with a point or an exponent.
function shortest(value) {
    const [digits, power] = Math.abs(value).toExponential().replace(".", "").split("e");
    const exponent = Number(power);
    if (exponent < -4 || exponent >= 16) return sign(value) + scientific(digits, exponent);
    const text = positional(digits, exponent);
    return sign(value) + (text.includes(".") ? text : `${text}.0`);
}

function sign(value) {
    return value < 0 || Object.is(value, -0) ? "-" : "";
}

function scientific(digits, exponent) {
    const point = digits.length > 1 ? "." : "";
    return `${digits[0]}${point}${digits.slice(1)}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

function positional(digits, exponent) {
    if (exponent < 0) return `0.${"0".repeat(-exponent - 1)}${digits}`;
    const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, "0");
    return digits.length > exponent + 1 ? `${whole}.${digits.slice(exponent + 1)}` : whole;
}

// Bytes of the well-formed UTF-8 sequence (RFC 3629) that begins here, 0 where none does.
function sequence(bytes, at) {
    const first = bytes[at];
    if (first < 0x80) return 1;
    const length = first >= 0xc2 && first <= 0xdf ? 2 : first >= 0xe0 && first <= 0xef ? 3 : first >= 0xf0 && first <= 0xf4 ? 4 : 0;
    const low = { 0xe0: 0xa0, 0xf0: 0x90 }[first] ?? 0x80;
    const high = { 0xed: 0x9f, 0xf4: 0x8f }[first] ?? 0xbf;
    for (let i = 1; i < length; i++) {
        const byte = bytes[at + i];
        if (!(byte >= (i === 1 ? low : 0x80) && byte <= (i === 1 ? high : 0xbf))) return 0;
    }
    return length;
}

// UTF-8 for people: bytes that are none appear as \xNN.
function readable(bytes) {
    const parts = [];
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    let from = 0;
    for (let at = 0; at < bytes.length; ) {
        const length = sequence(bytes, at);
        if (!length) {
            parts.push(decoder.decode(bytes.subarray(from, at)), `\\x${toHex(bytes.subarray(at, at + 1))}`);
            from = at + 1;
        }
        at += length || 1;
    }
    return parts.join("") + decoder.decode(bytes.subarray(from));
}

// A TEXT: stored bytes b that are no UTF-8 stand there as the three bytes of U+DC00 + b.
function shownText(body) {
    const stored = [];
    for (let at = 0; at < body.length; at++) {
        const isEscape = body[at] === 0xed && (body[at + 1] === 0xb2 || body[at + 1] === 0xb3) && (body[at + 2] & 0xc0) === 0x80;
        stored.push(isEscape ? 0x80 | ((body[at + 1] & 1) << 6) | (body[at + 2] & 0x3f) : body[at]);
        if (isEscape) at += 2;
    }
    const bytes = Uint8Array.from(stored);
    demand(equal(escaped(bytes), body), "a sqlite/1 text is not in its canonical encoding");
    return readable(bytes);
}

function escaped(stored) {
    const parts = [];
    for (let at = 0; at < stored.length; ) {
        const length = sequence(stored, at);
        parts.push(...(length ? stored.subarray(at, at + length) : [0xed, 0xb0 | (stored[at] >> 6), 0x80 | (stored[at] & 0x3f)]));
        at += length || 1;
    }
    return Uint8Array.from(parts);
}

const ESCAPES = { b: 8, f: 12, n: 10, r: 13, t: 9, v: 11, "\\": 92 };

// Source: PostgreSQL documentation, COPY, Text Format.
function shownPostgres(field) {
    if (equal(field, Uint8Array.of(BACKSLASH, 78))) return null;
    const bytes = [];
    for (let at = 0; at < field.length; at++) {
        if (field[at] === BACKSLASH) {
            const letter = String.fromCharCode(field[++at]);
            demand(at < field.length && Object.hasOwn(ESCAPES, letter), "a COPY field has an escape that PostgreSQL does not write");
            bytes.push(ESCAPES[letter]);
        } else {
            bytes.push(field[at]);
        }
    }
    return readable(Uint8Array.from(bytes));
}
