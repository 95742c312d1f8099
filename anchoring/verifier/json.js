// JSON, read strictly: integers only, no member twice, bounded depth; and its one canonical writing (RFC 8785).

import { demand, Malformed } from "./bytes.js";

const MAX_DEPTH = 64;
const MAX_DIGITS = 400;
const LITERALS = { t: ["true", true], f: ["false", false], n: ["null", null] };

// The value; integers that are not safe ones are BigInts, objects have no prototype.
export function readJson(text) {
    let at = 0;
    const integer = /-?(?:0|[1-9][0-9]*)(?![0-9.eE])/y;

    function fail() {
        throw new Malformed("not JSON, a member twice, or a number that is no integer");
    }

    function next() {
        while (text[at] === " " || text[at] === "\t" || text[at] === "\n" || text[at] === "\r") at++;
        return text[at];
    }

    function take(letter) {
        if (next() !== letter) fail();
        at++;
    }

    function takeString() {
        if (next() !== '"') fail();
        let end = at + 1;
        while (text[end] !== '"') {
            if (end >= text.length) fail();
            end += text[end] === "\\" ? 2 : 1;
        }
        const written = text.slice(at, end + 1);
        at = end + 1;
        return JSON.parse(written);
    }

    function takeInteger() {
        integer.lastIndex = at;
        const written = (integer.exec(text) ?? fail())[0];
        if (written.length > MAX_DIGITS) fail();
        at += written.length;
        return Number.isSafeInteger(Number(written)) ? Number(written) : BigInt(written);
    }

    function takeItems(end, takeItem) {
        at++;
        if (next() === end) {
            at++;
            return;
        }
        takeItem();
        while (next() === ",") {
            at++;
            takeItem();
        }
        take(end);
    }

    function takeValue(depth) {
        const first = next();
        if (first === '"') return takeString();
        if ((first === "[" || first === "{") && depth === MAX_DEPTH) fail();
        if (first === "[") {
            const list = [];
            takeItems("]", () => list.push(takeValue(depth + 1)));
            return list;
        }
        if (first === "{") {
            const object = Object.create(null);
            takeItems("}", () => {
                const name = takeString();
                if (name in object) fail();
                take(":");
                object[name] = takeValue(depth + 1);
            });
            return object;
        }
        if (Object.hasOwn(LITERALS, first)) {
            const [written, value] = LITERALS[first];
            if (!text.startsWith(written, at)) fail();
            at += written.length;
            return value;
        }
        return takeInteger();
    }

    const value = takeValue(0);
    if (next() !== undefined) fail();
    return value;
}

export function isObject(value) {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}

// Section 3.2 of RFC 8785. Members are in the order of their names' UTF-16 code units, which is how sort() compares.
export function writeJson(value) {
    if (Array.isArray(value)) return `[${value.map(writeJson).join(",")}]`;
    if (isObject(value)) {
        const names = Object.keys(value).sort();
        return `{${names.map((name) => `${writeJson(name)}:${writeJson(value[name])}`).join(",")}}`;
    }
    if (typeof value === "string") {
        demand(!/\p{Surrogate}/u.test(value), "half of a character");
        return JSON.stringify(value);
    }
    demand(typeof value !== "bigint", "an integer of more than 53 bits");
    return String(value);
}

// The value of bytes that are its canonical writing.
export function readCanonical(bytes) {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const value = readJson(text);
    demand(writeJson(value) === text, "not the one canonical writing of its content");
    return value;
}
