// Block headers: 15 fields up to Berlin, and those that later forks append. Source: yellow paper, section 4.3; docs/spec.md, "Headers".

import { keccak_256 as keccak } from "@noble/hashes/sha3.js";
import { demand, toHex } from "./bytes.js";
import { decodeRlpList, encodeRlp, rlpInteger } from "./rlp.js";

export const EMPTY_UNCLES = toHex(keccak(Uint8Array.of(0xc0)));
const MAX_EXTRA = 2 ** 16;
const MAX_BYTES = MAX_EXTRA + 1024;
const EXTRA = 12;

// By position: bytes of a fixed size, and integers of so many bits.
const SIZES = { 0: 32, 1: 32, 2: 20, 3: 32, 4: 32, 5: 32, 6: 256, 13: 32, 14: 8, 16: 32, 19: 32, 20: 32 };
const BITS = { 7: 256, 8: 64, 9: 64, 10: 64, 11: 64, 15: 256, 17: 64, 18: 64 };

export function readHeader(raw) {
    demand(raw.length <= MAX_BYTES, `header: at most ${MAX_BYTES} bytes are read`);
    const parts = decodeRlpList(raw);
    demand(parts.length >= 15 && parts.length <= 21, "header: 15 to 21 fields are expected");
    parts.forEach((part, i) => {
        if (i in SIZES) demand(part.length === SIZES[i], `header: field ${i} is not ${SIZES[i]} bytes`);
        if (i in BITS) rlpInteger(part, BITS[i]);
    });
    demand(parts[EXTRA].length <= MAX_EXTRA, `header: extra data is not at most ${MAX_EXTRA} bytes`);
    return {
        parts,
        parentHash: toHex(parts[0]), unclesHash: toHex(parts[1]), coinbase: toHex(parts[2]), stateRoot: parts[3],
        difficulty: rlpInteger(parts[7], 256), number: rlpInteger(parts[8], 64), time: rlpInteger(parts[11], 64),
        extra: parts[EXTRA], mixHash: toHex(parts[13]), nonce: toHex(parts[14]),
    };
}

// keccak-256 of the header's RLP, with other extra data where it is given.
export function hashHeader(header, extra = header.extra) {
    return keccak(encodeRlp(header.parts.map((part, i) => (i === EXTRA ? extra : part))));
}
