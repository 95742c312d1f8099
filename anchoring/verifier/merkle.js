// Merkle trees of RFC 9162 (and RFC 6962) over SHA-256.

import { sha256 } from "@noble/hashes/sha2.js";
import { concat, demand, equal } from "./bytes.js";

export const EMPTY_ROOT = sha256(new Uint8Array());

export function leafHash(entry) {
    return sha256(concat(Uint8Array.of(0), entry));
}

function nodeHash(left, right) {
    return sha256(concat(Uint8Array.of(1), left, right));
}

function halved(number) {
    return Math.floor(number / 2);
}

// A proof's hashes are taken from the leaf upwards: `step` gets each, and on which side it stands. Section 2.1.3.2.
function climb(index, last, proof, step) {
    let [fn, sn] = [index, last];
    for (const sibling of proof) {
        demand(sn !== 0, "the proof is too long");
        const isLeft = fn % 2 === 1 || fn === sn;
        step(sibling, isLeft);
        if (isLeft) while (fn % 2 === 0 && fn !== 0) [fn, sn] = [halved(fn), halved(sn)];
        [fn, sn] = [halved(fn), halved(sn)];
    }
    demand(sn === 0, "the proof is too short");
}

export function checkInclusion(leaf, index, size, proof, root) {
    demand([root, ...proof].every((hash) => hash.length === 32), "a hash does not have 32 bytes");
    demand(index < size, `leaf ${index} is not in a tree of ${size} leaves`);
    let node = leaf;
    climb(index, size - 1, proof, (sibling, isLeft) => {
        node = isLeft ? nodeHash(sibling, node) : nodeHash(node, sibling);
    });
    demand(equal(node, root), "the inclusion proof leads to another root");
}

// That the tree of size2 leaves extends the one of size1 > 0 leaves. Section 2.1.4.2.
export function checkConsistency(size1, size2, root1, root2, proof) {
    demand([root1, root2, ...proof].every((hash) => hash.length === 32), "a hash does not have 32 bytes");
    demand(size1 <= size2, "the later tree is the smaller one");
    if (size1 === size2) {
        demand(proof.length === 0 && equal(root1, root2), "trees of equal size differ");
        return;
    }
    demand(proof.length > 0, "the consistency proof is empty");
    let power = 1;
    while (power < size1) power *= 2;
    const path = power === size1 ? [root1, ...proof] : proof;
    let [fn, sn] = [size1 - 1, size2 - 1];
    while (fn % 2 === 1) [fn, sn] = [halved(fn), halved(sn)];
    let [first, second] = [path[0], path[0]];
    climb(fn, sn, path.slice(1), (sibling, isLeft) => {
        if (isLeft) first = nodeHash(sibling, first);
        second = isLeft ? nodeHash(sibling, second) : nodeHash(second, sibling);
    });
    demand(equal(first, root1) && equal(second, root2), "the consistency proof leads to another root");
}

// The root over leaves that come one after the other: of complete subtrees, only the roots are kept.
export class Root {
    constructor() {
        this.size = 0;
        this.complete = []; // roots, the largest first, one for each bit of the size
    }

    add(entry) {
        let node = leafHash(entry);
        for (let rest = this.size++; rest % 2 === 1; rest = halved(rest)) node = nodeHash(this.complete.pop(), node);
        this.complete.push(node);
    }

    value() {
        return this.complete.length ? this.complete.reduceRight((right, left) => nodeHash(left, right)) : EMPTY_ROOT;
    }
}
