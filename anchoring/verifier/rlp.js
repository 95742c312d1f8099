// RLP in its one canonical form. Source: Ethereum yellow paper, appendix B.

import { concat, demand, toBigInt } from "./bytes.js";

// The item: bytes, or a list of items, nested at most `depth` lists deep.
export function decodeRlp(raw, depth) {
    const [item, end] = itemAt(raw, 0, raw.length, depth);
    demand(end === raw.length, "RLP: bytes after the item");
    return item;
}

export function decodeRlpList(raw, depth = 1) {
    const item = decodeRlp(raw, depth);
    demand(Array.isArray(item), "RLP: a string where a list is expected");
    return item;
}

function itemAt(raw, at, limit, depth) {
    demand(at < limit, "RLP: ends early");
    const first = raw[at];
    if (first < 0x80) return [raw.subarray(at, at + 1), at + 1];
    const base = first < 0xc0 ? 0x80 : 0xc0;
    const [start, length] = payload(raw, at, limit, first - base);
    const end = start + length;
    demand(end <= limit, "RLP: an item overruns its container");
    if (base === 0x80) {
        demand(length !== 1 || raw[start] >= 0x80, "RLP: a single byte with a needless prefix");
        return [raw.subarray(start, end), end];
    }
    demand(depth > 0, "RLP: lists nested too deep");
    const items = [];
    let from = start;
    while (from < end) {
        const [item, next] = itemAt(raw, from, end, depth - 1);
        items.push(item);
        from = next;
    }
    return [items, end];
}

function payload(raw, at, limit, code) {
    if (code < 56) return [at + 1, code];
    const start = at + 1 + code - 55;
    demand(start <= limit, "RLP: ends early");
    const length = Number(toBigInt(raw.subarray(at + 1, start)));
    demand(raw[at + 1] !== 0 && length >= 56, "RLP: a length that is not minimal");
    return [start, length];
}

export function encodeRlp(item) {
    if (!Array.isArray(item)) return item.length === 1 && item[0] < 0x80 ? item : concat(head(0x80, item.length), item);
    const body = concat(...item.map(encodeRlp));
    return concat(head(0xc0, body.length), body);
}

function head(base, length) {
    if (length < 56) return Uint8Array.of(base + length);
    const digits = [];
    for (let rest = length; rest; rest = Math.floor(rest / 256)) digits.unshift(rest % 256);
    return Uint8Array.of(base + 55 + digits.length, ...digits);
}

// An unsigned integer of at most `bits` bits, as a BigInt.
export function rlpInteger(item, bits) {
    demand(!Array.isArray(item) && item[0] !== 0 && item.length * 8 <= bits, "RLP: not an integer of this size");
    return toBigInt(item);
}
