// Recoverable secp256k1 signatures, r ‖ s ‖ recovery id, and the accounts behind them.

import { ecdsa, weierstrass } from "@noble/curves/abstract/weierstrass.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { keccak_256 as keccak } from "@noble/hashes/sha3.js";
import { demand, toBigInt, toHex } from "./bytes.js";

// Source: SEC 2, section 2.4.1.
const CURVE = {
    p: 0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2fn,
    n: 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n,
    h: 1n,
    a: 0n,
    b: 7n,
    Gx: 0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798n,
    Gy: 0x483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8n,
};
const { Signature } = ecdsa(weierstrass(CURVE), sha256);

// The 20-byte account, in hexadecimal digits, whose key signed a 32-byte digest. A high s is refused: it would be a second signature.
export function recoverAccount(signature, digest) {
    demand(signature.length === 65 && signature[64] <= 1, "not a canonical signature");
    demand(toBigInt(signature.subarray(32, 64)) <= CURVE.n / 2n, "not a canonical signature");
    const key = Signature.fromBytes(signature.subarray(0, 64)).addRecoveryBit(signature[64]).recoverPublicKey(digest);
    return toHex(keccak(key.toBytes(false).subarray(1)).subarray(12));
}
