// Evidence verified from its bytes and those of the network file. docs/spec.md, "Verification": its order, and its names of the links.

import { sha256 } from "@noble/hashes/sha2.js";
import { ascii, Broken, concat, demand, equal, linked, toHex, toWord } from "./bytes.js";
import * as clique from "./clique.js";
import { readContainer } from "./container.js";
import { readHeader } from "./header.js";
import { readNetwork } from "./network.js";
import * as qbft from "./qbft.js";
import { stampedSize } from "./stamped.js";
import { openSubject } from "./subject.js";
import { provedAccount, provedWord, slotOf } from "./trie.js";

// Base slots of Journals.entries and Consortium.institution: docs/spec.md, "Storage".
const ENTRIES = 4;
const INSTITUTION = 5;

// What the evidence proves. Throws Broken with the first broken link, NetworkInvalid where there is no root of trust.
export function verify(evidence, networkFile) {
    const network = readNetwork(networkFile);
    const parts = linked("container", () => readContainer(evidence));
    const subject = openSubject(parts);
    const anchored = anchoredBy(parts, network);
    const last = parts.kind === "audit" ? subject.entry : subject.versions[subject.versions.length - 1].entry;
    const stamp = "timestamp" in parts ? linked("timestamp", () => stampedSize(parts.timestamp, last, parts.checkpoint, network)) : null;
    return { kind: parts.kind, anchored, stamp, ...subject };
}

function anchoredBy(parts, network) {
    const { checkpoint, storage, institution, chain } = parts;
    if (BigInt(checkpoint.chain_id) !== network.chain_id) {
        throw new Broken("network", `the evidence is of chain ${checkpoint.chain_id}, the network file of chain ${network.chain_id}`);
    }
    const headers = linked("header", () => ({
        before: chain.before.map(readHeader), header: readHeader(chain.header), after: chain.after.map(readHeader),
    }));
    const head = headers.header;
    const block = checkpointBlock(checkpoint, storage, head, network);
    const name = linked("institution", () => institutionName(checkpoint.institution, institution, head, network));
    const confirmation = confirmed(headers, network);
    if (block > head.number) throw new Broken("checkpoint", `block ${block} is later than the header's, ${head.number}`);
    return {
        institution: checkpoint.institution, name, chain_id: checkpoint.chain_id, engine: network.engine, generation: checkpoint.generation,
        size: checkpoint.size, root: checkpoint.root, block, header_block: head.number, header_time: head.time, ...confirmation,
    };
}

function contractStorage(head, address, code, proof) {
    const account = provedAccount(head.stateRoot, address, proof);
    demand(toHex(account.codeHash) === code, "there is another contract at the address");
    return account.storageRoot;
}

// The block that took the checkpoint in, once the contract's storage holds it.
function checkpointBlock(checkpoint, storage, head, network) {
    const [meta, root] = linked("storage", () => {
        const contract = contractStorage(head, network.journals, network.journals_code, storage.account);
        const slot = slotOf(ENTRIES, checkpoint.institution, checkpoint.generation, checkpoint.index);
        return [provedWord(contract, slot, storage.meta), provedWord(contract, slot + 1n, storage.root)];
    });
    const size = BigInt.asUintN(64, meta);
    if (size === 0n) throw new Broken("checkpoint", "the chain holds no checkpoint under this number");
    if (size !== BigInt(checkpoint.size) || !equal(toWord(root), checkpoint.root)) {
        throw new Broken("checkpoint", "the chain holds another checkpoint under this number");
    }
    return meta >> 64n;
}

// The institution's name, as the consortium's storage commits to it.
function institutionName(id, part, head, network) {
    const contract = contractStorage(head, network.consortium, network.consortium_code, part.account);
    const word = provedWord(contract, slotOf(INSTITUTION, id), part.proof);
    const name = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(part.name);
    const committed = sha256(concat(ascii("careseal/v1/institution"), part.name));
    demand(equal(committed, toWord(word)), "the consortium knows this institution by another name");
    return name;
}

// Why the header's block counts under the network file.
function confirmed(headers, network) {
    const engine = network.engine === "qbft" ? qbft : clique;
    const { before, header, after } = headers;
    if (header.number < network.block) {
        throw new Broken("network", `block ${header.number} is older than the trusted block ${network.block}: bring the evidence up to date with careseal evidence refresh`);
    }
    if (header.number > network.block) return engine.confirm(headers, network);
    if (linked("seal", () => engine.blockHash(header)) !== network.block_hash) throw new Broken("network", "the header is not the trusted block");
    if (before.length || after.length) throw new Broken("confirmation", "the trusted block comes without other headers");
    return { final: network.engine === "qbft", sealers: [], of: network.sealers.length };
}
