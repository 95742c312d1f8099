// Journal entries. docs/spec.md, "Journal entries".

import { demand, isZero, toNumber } from "./bytes.js";

export const CONFIGURATION = 16;
export const AUDIT = 17;
const VERSION = 1;
const RECORD_KINDS = { 1: "written", 2: "amended", 3: "deleted" };
const EVENT_KINDS = [CONFIGURATION, AUDIT, 18, 19, 20, 21, 22, 23, 24, 25];
const EVENT_BYTES = 40;
const RECORD_BYTES = 129;
const MAX_COLUMNS = 256;

const BASELINE = 0x0001;
const CONTENT = 0x0002;
const CAPTURED = 0x0008;
const MARKS = {
    0x0100: "altered_before", 0x0200: "inserted_before", 0x0400: "unauthorised", 0x0800: "final", 0x1000: "back_dated", 0x2000: "deletion",
    0x4000: "uncompared", 0x8000: "time_unreadable",
};
const UNKNOWN_FLAGS = 0x00f0;

// Bytes of each field tag, so that all tags of a row together take at most 256 bytes.
export function tagWidth(columns) {
    return columns <= 64 ? 4 : Math.floor(MAX_COLUMNS / columns);
}

export function recordIdOf(entry) {
    return entry.subarray(12, 28);
}

export function isRecord(entry) {
    return entry[1] in RECORD_KINDS;
}

export function readRecordEntry(data) {
    demand(data[0] === VERSION, "unknown version of a journal entry");
    demand(isRecord(data), "its entry is not one of a record");
    demand(data.length >= RECORD_BYTES, `a record entry has at least ${RECORD_BYTES} bytes`);
    const flags = toNumber(data.subarray(10, 12));
    const previous = toNumber(data.subarray(32, 38));
    const entry = {
        kind: RECORD_KINDS[data[1]], time: toNumber(data.subarray(2, 8)), table: toNumber(data.subarray(8, 10)),
        hasContent: (flags & CONTENT) !== 0, isBaseline: (flags & BASELINE) !== 0, isCaptured: (flags & CAPTURED) !== 0,
        marks: Object.keys(MARKS).filter((flag) => flags & flag).map((flag) => MARKS[flag]),
        record: recordIdOf(data), version: toNumber(data.subarray(28, 32)), previous: previous - 1, algorithm: data[62],
        rowDigest: data.subarray(63, 95), fieldRoot: data.subarray(95, 127), columns: toNumber(data.subarray(127, 129)),
        tags: data.subarray(RECORD_BYTES),
    };
    const { version, columns, tags, hasContent } = entry;
    demand(!(flags & UNKNOWN_FLAGS) && [1, 2].includes(entry.algorithm) && version > 0, "an unknown flag, algorithm or version");
    demand(columns <= MAX_COLUMNS && hasContent === columns > 0, "a record entry's content does not fit its columns");
    demand(tags.length === (columns && columns * tagWidth(columns)), "a record entry's field tags do not fit its columns");
    demand(hasContent || isZero(data.subarray(63, 127)), "a record entry without content has digests");
    demand(!(entry.kind === "deleted" && hasContent) && (version === 1) === (previous === 0), "a record entry contradicts itself");
    return entry;
}

export function readEventEntry(data, kind) {
    demand(data.length === EVENT_BYTES && data[0] === VERSION && data[1] === kind, "its entry is of another kind");
    return { time: toNumber(data.subarray(2, 8)), commitment: data.subarray(8) };
}

// Whatever entry it is, it must be one; those of events are not looked at.
export function checkEntry(data) {
    if (isRecord(data)) readRecordEntry(data);
    else demand(EVENT_KINDS.includes(data[1]) && readEventEntry(data, data[1]), "unknown kind of journal entry");
}
