// Bytes, and the two errors of the verifier: Malformed says what is wrong, Broken which link of the proof that breaks.

export class Malformed extends Error {}

export class Broken extends Error {
    constructor(link, reason) {
        super(`${link}: ${reason}`);
        this.link = link;
        this.reason = reason;
    }
}

export function demand(holds, reason) {
    if (!holds) throw new Malformed(reason);
}

// What `act` returns; whatever it throws, foreseen or not, breaks the link, unless it names a link itself.
export function linked(link, act) {
    try {
        return act();
    } catch (error) {
        throw error instanceof Broken ? error : new Broken(link, error.message);
    }
}

const DIGITS = "0123456789abcdef";

export function toHex(bytes) {
    let text = "";
    for (const byte of bytes) text += DIGITS[byte >> 4] + DIGITS[byte & 15];
    return text;
}

function digit(code) {
    if (code >= 48 && code <= 57) return code - 48;
    demand(code >= 97 && code <= 102, "not lower-case hexadecimal");
    return code - 87;
}

// The bytes whose one hexadecimal writing is `text`: lower case, nothing between the digits.
export function fromHex(text) {
    demand(typeof text === "string" && text.length % 2 === 0, "not hexadecimal");
    const bytes = new Uint8Array(text.length / 2);
    for (let i = 0; i < bytes.length; i++) bytes[i] = (digit(text.charCodeAt(2 * i)) << 4) | digit(text.charCodeAt(2 * i + 1));
    return bytes;
}

export function concat(...parts) {
    const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
    let at = 0;
    for (const part of parts) {
        whole.set(part, at);
        at += part.length;
    }
    return whole;
}

export function equal(a, b) {
    return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

export function isZero(bytes) {
    return bytes.every((byte) => byte === 0);
}

export function ascii(text) {
    return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

// An unsigned big-endian integer of any length.
export function toBigInt(bytes) {
    return bytes.length ? BigInt("0x" + toHex(bytes)) : 0n;
}

// The 32 big-endian bytes of an unsigned integer.
export function toWord(number) {
    return fromHex(BigInt(number).toString(16).padStart(64, "0"));
}

// An unsigned big-endian integer of at most 48 bits.
export function toNumber(bytes) {
    return bytes.reduce((number, byte) => number * 256 + byte, 0);
}
