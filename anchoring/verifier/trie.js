// Proofs in Merkle Patricia tries, as eth_getProof gives them (EIP-1186). Source: Ethereum yellow paper, appendix D.

import { keccak_256 as keccak } from "@noble/hashes/sha3.js";
import { concat, demand, equal, fromHex, toHex, toWord } from "./bytes.js";
import { decodeRlp, decodeRlpList, encodeRlp, rlpInteger } from "./rlp.js";

const EMPTY_ROOT = keccak(Uint8Array.of(0x80));
const EMPTY_CODE = keccak(new Uint8Array());
const MAX_NODE = 1024;
const MAX_INLINE = 16; // nodes within nodes: each is shorter than 32 bytes and at least two shorter than the one around it

// Storage root and code hash of the account at a 20-byte address.
export function provedAccount(stateRoot, address, proof) {
    const value = provedValue(stateRoot, keccak(fromHex(address)), proof);
    if (value === null) return { storageRoot: EMPTY_ROOT, codeHash: EMPTY_CODE };
    const parts = decodeRlpList(value);
    demand(parts.length === 4, "proof: an account has four fields");
    rlpInteger(parts[0], 64);
    rlpInteger(parts[1], 256);
    demand(parts[2].length === 32 && parts[3].length === 32, "proof: an account's hashes have 32 bytes");
    return { storageRoot: parts[2], codeHash: parts[3] };
}

// The word, a BigInt, in a slot under a storage root; 0 where nothing is stored.
export function provedWord(storageRoot, slot, proof) {
    const value = provedValue(storageRoot, keccak(toWord(slot)), proof);
    if (value === null) return 0n;
    const word = rlpInteger(decodeRlp(value, 0), 256);
    demand(word !== 0n, "proof: a trie does not store zero");
    return word;
}

// The slot of an element of a mapping, nested once for each key.
export function slotOf(base, ...keys) {
    return keys.reduce((slot, key) => BigInt("0x" + toHex(keccak(concat(toWord(slot), toWord(key))))), BigInt(base));
}

function provedValue(root, key, proof) {
    if (equal(root, EMPTY_ROOT)) {
        demand(proof.length === 0 || (proof.length === 1 && equal(proof[0], Uint8Array.of(0x80))), "proof: nodes of an empty trie");
        return null;
    }
    let used = 0;
    const path = nibbles(key);
    const value = descend(root, 0);
    demand(used === proof.length, "proof: nodes after the last one needed");
    return value;

    function fetched(reference) {
        demand(used < proof.length, "proof: ends before the key is reached");
        demand(equal(keccak(proof[used]), reference), `proof: node ${used} does not hash to what names it`);
        return decodeNode(proof[used++]);
    }

    function descend(reference, at) {
        const node = Array.isArray(reference) ? reference : fetched(reference);
        if (node.length === 17) {
            demand(at < path.length, "proof: a branch deeper than the key");
            const child = node[path[at]];
            return child.length === 0 ? null : descend(child, at + 1);
        }
        const { step, leaf } = compact(node[0]);
        const rest = leaf ? path.slice(at) : path.slice(at, at + step.length);
        demand(rest.length === step.length, "proof: a path of another length than the key");
        if (leaf) demand(!Array.isArray(node[1]) && node[1].length > 0, "proof: a leaf without a value");
        if (!equal(rest, step)) return null;
        return leaf ? node[1] : descend(node[1], at + step.length);
    }
}

function decodeNode(raw) {
    demand(raw.length <= MAX_NODE, `proof: a node has at most ${MAX_NODE} bytes`);
    const node = decodeRlpList(raw, MAX_INLINE);
    checkNode(node);
    return node;
}

function checkNode(node) {
    demand(node.length === 17 || node.length === 2, "proof: neither a branch nor a short node");
    if (node.length === 17) {
        demand(node[16].length === 0 && !Array.isArray(node[16]), "proof: a branch with a value");
        node.slice(0, 16).filter((child) => Array.isArray(child) || child.length > 0).forEach(checkReference);
        return;
    }
    const { step, leaf } = compact(node[0]);
    if (leaf) return;
    demand(step.length > 0, "proof: an extension that leads nowhere");
    checkReference(node[1]);
}

function checkReference(reference) {
    if (Array.isArray(reference)) {
        demand(encodeRlp(reference).length < 32, "proof: an embedded node that is too long to be embedded");
        checkNode(reference);
    } else {
        demand(reference.length === 32, "proof: a reference has 32 bytes");
    }
}

// The nibbles of a hex-prefixed path and whether it ends in a leaf. Source: yellow paper, appendix C.
function compact(item) {
    const odd = item[0] & 0x10;
    demand(!Array.isArray(item) && item.length > 0 && item[0] >> 4 <= 3 && (odd || (item[0] & 0x0f) === 0), "proof: a path without a valid prefix");
    return { step: nibbles(item).slice(odd ? 1 : 2), leaf: (item[0] & 0x20) !== 0 };
}

function nibbles(bytes) {
    return Array.from(bytes).flatMap((byte) => [byte >> 4, byte & 15]);
}
