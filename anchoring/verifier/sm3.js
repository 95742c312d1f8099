// SM3, the digest of GB/T 32905-2016, whose clauses the comments name. The vendored library does not have it.

const IV = [0x7380166f, 0x4914b2b9, 0x172442d7, 0xda8a0600, 0xa96f30bc, 0x163138aa, 0xe38dee4d, 0xb0fb0e4e];

function turned(word, by) {
    return (word << by) | (word >>> (32 - by));
}

// 5.3.3: one block of 64 bytes is folded into the state.
function fold(state, block) {
    const w = new Int32Array(68);
    for (let j = 0; j < 16; j++) w[j] = block.getInt32(4 * j);
    for (let j = 16; j < 68; j++) {
        const x = w[j - 16] ^ w[j - 9] ^ turned(w[j - 3], 15);
        w[j] = x ^ turned(x, 15) ^ turned(x, 23) ^ turned(w[j - 13], 7) ^ w[j - 6];
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let j = 0; j < 64; j++) {
        const constant = j < 16 ? 0x79cc4519 : 0x7a879d8a;
        const ss1 = turned((turned(a, 12) + e + turned(constant, j % 32)) | 0, 7);
        const ff = j < 16 ? a ^ b ^ c : (a & b) | (a & c) | (b & c);
        const gg = j < 16 ? e ^ f ^ g : (e & f) | (~e & g);
        const tt1 = (ff + d + (ss1 ^ turned(a, 12)) + (w[j] ^ w[j + 4])) | 0;
        const tt2 = (gg + h + ss1 + w[j]) | 0;
        [a, b, c, d] = [tt1, a, turned(b, 9), c];
        [e, f, g, h] = [tt2 ^ turned(tt2, 9) ^ turned(tt2, 17), e, turned(f, 19), g];
    }
    return [a, b, c, d, e, f, g, h].map((word, i) => word ^ state[i]);
}

export function sm3(message) {
    // 5.2: a bit 1, zeros, and the message's length in bits.
    const padded = new Uint8Array(64 * Math.ceil((message.length + 9) / 64));
    padded.set(message);
    padded[message.length] = 0x80;
    new DataView(padded.buffer).setBigUint64(padded.length - 8, BigInt(message.length) * 8n);
    let state = IV;
    for (let at = 0; at < padded.length; at += 64) state = fold(state, new DataView(padded.buffer, at, 64));
    const digest = new DataView(new ArrayBuffer(32));
    state.forEach((word, i) => digest.setInt32(4 * i, word));
    return new Uint8Array(digest.buffer);
}
