// QBFT: who sealed a header, whether they are a quorum, and how a change of the validators is followed. docs/spec.md, "QBFT".

import { Broken, demand, linked, toHex } from "./bytes.js";
import { EMPTY_UNCLES, hashHeader } from "./header.js";
import { decodeRlpList, encodeRlp, rlpInteger } from "./rlp.js";
import { recoverAccount } from "./signature.js";

const MIX_HASH = "63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365";
const MAX_VALIDATORS = 1000;
const NOTHING = new Uint8Array();

function readExtra(header) {
    const parts = decodeRlpList(header.extra, 2);
    demand(parts.length === 5, `the extra data of block ${header.number} is malformed`);
    const [vanity, validators, vote, round, seals] = parts;
    rlpInteger(round, 32);
    demand(!Array.isArray(vanity) && vanity.length === 32, `the extra data of block ${header.number} has no vanity`);
    const listed = strings(validators, 20).map(toHex);
    demand(listed.length > 0 && listed.length <= MAX_VALIDATORS && new Set(listed).size === listed.length, "no list of validators");
    return { vanity, validators, listed, vote, round, seals: strings(seals, 65) };
}

function strings(items, size) {
    demand(Array.isArray(items) && items.every((item) => !Array.isArray(item) && item.length === size), `not a list of ${size} bytes each`);
    return items;
}

function hashWith(header, extra, round) {
    return hashHeader(header, encodeRlp([extra.vanity, extra.validators, extra.vote, round, []]));
}

// Round and seals are empty in what is hashed, for they are added when the block is agreed on.
export function blockHash(header) {
    return toHex(hashWith(header, readExtra(header), NOTHING));
}

// The validators whose commit seals are on a header, a quorum of those that it lists.
function sealedBy(header, extra) {
    const isOfEngine = header.mixHash === MIX_HASH && header.unclesHash === EMPTY_UNCLES && header.difficulty === 1n && /^0+$/.test(header.nonce);
    demand(header.number !== 0n && isOfEngine, `block ${header.number} is the genesis, or not of this engine`);
    demand(extra.seals.length <= extra.listed.length, `block ${header.number} has more seals than validators`);
    const signed = hashWith(header, extra, extra.round);
    const sealed = new Set();
    for (const seal of extra.seals) {
        const validator = recoverAccount(seal, signed);
        demand(extra.listed.includes(validator), `block ${header.number} is sealed by 0x${validator}, which is not a validator`);
        demand(!sealed.has(validator), `block ${header.number} is sealed by 0x${validator} twice`);
        sealed.add(validator);
    }
    const quorum = Math.ceil((2 * extra.listed.length) / 3);
    demand(sealed.size >= quorum, `block ${header.number} has ${sealed.size} seals of ${extra.listed.length} validators, ${quorum} are needed`);
    return [...sealed];
}

function refuse(reason) {
    throw new Broken("confirmation", reason);
}

// Who sealed a block later than the trusted one: a quorum of validators that follow from the trusted ones.
export function confirm(headers, network) {
    if (headers.after.length) refuse("a block of QBFT needs no descendants");
    let known = new Set(network.sealers);
    let number = network.block;
    let sealed = [];
    const chain = [...headers.before, headers.header];
    chain.forEach((header, place) => {
        if (header.number <= number) refuse(`block ${header.number} does not come after block ${number}`);
        const listed = linked("seal", () => {
            const extra = readExtra(header);
            sealed = sealedBy(header, extra);
            return new Set(extra.listed);
        });
        const same = listed.size === known.size && [...listed].every((validator) => known.has(validator));
        if (same && place < chain.length - 1) refuse(`block ${header.number} does not change the validators`);
        if (!same && 3 * sealed.filter((validator) => known.has(validator)).length <= known.size) {
            refuse(`block ${header.number} has other validators, and seals of no more than a third of those before`);
        }
        known = listed;
        number = header.number;
    });
    return { final: true, sealers: sealed, of: known.size };
}
