// Clique: who sealed a header, how votes change the sealers, and when enough of them stand behind a block. EIP-225; docs/spec.md, "Clique".

import { Broken, demand, linked, toHex } from "./bytes.js";
import { EMPTY_UNCLES, hashHeader } from "./header.js";
import { recoverAccount } from "./signature.js";

const VANITY = 32;
const SEAL = 65;
const NO_VOTE = "00".repeat(8);
const ADD = "ff".repeat(8);

export function blockHash(header) {
    return toHex(hashHeader(header));
}

function sealerOf(header, sealers, epoch) {
    const { number, extra } = header;
    demand(number !== 0n, "the genesis has no seal");
    demand(
        /^0+$/.test(header.mixHash) && header.unclesHash === EMPTY_UNCLES && [NO_VOTE, ADD].includes(header.nonce),
        `block ${number} carries a mix hash, uncles or a nonce that Clique does not allow`,
    );
    const ordered = [...sealers].sort();
    const isEpoch = number % epoch === 0n;
    demand(!isEpoch || (/^0+$/.test(header.coinbase) && header.nonce === NO_VOTE), `block ${number} votes at an epoch`);
    demand(extra.length >= VANITY + SEAL, `block ${number} has no seal`);
    const listed = toHex(extra.subarray(VANITY, -SEAL));
    demand(listed === (isEpoch ? ordered.join("") : ""), `block ${number} does not list the sealers as it must`);
    const sealer = recoverAccount(extra.subarray(-SEAL), hashHeader(header, extra.subarray(0, -SEAL)));
    demand(sealers.has(sealer), `block ${number} is sealed by 0x${sealer}, which is not a sealer`);
    const inTurn = ordered[Number(number % BigInt(ordered.length))] === sealer;
    demand(header.difficulty === (inTurn ? 2n : 1n), `block ${number} claims a difficulty out of its sealer's turn`);
    return sealer;
}

// Who may seal the next block, as votes in the headers that were taken in so far made it.
class Sealers {
    constructor(network) {
        this.current = new Set(network.sealers);
        this.epoch = network.epoch;
        this.votes = new Map(); // account in question -> who votes to add or to remove it
        this.recent = []; // number and sealer of the last blocks
    }

    takeIn(header) {
        const sealer = sealerOf(header, this.current, this.epoch);
        const soon = this.within(header.number).some(([, who]) => who === sealer);
        demand(!soon, `block ${header.number} is sealed by 0x${sealer} again too soon`);
        if (header.number % this.epoch === 0n) this.votes.clear();
        this.vote(sealer, header.coinbase, header.nonce === ADD);
        this.recent.push([header.number, sealer]);
        this.recent = this.within(header.number);
        return sealer;
    }

    // The blocks so shortly before this number that their sealers must wait.
    within(number) {
        const limit = BigInt(Math.floor(this.current.size / 2) + 1);
        return this.recent.filter(([at]) => at > number - limit);
    }

    vote(sealer, account, add) {
        const voters = this.votes.get(account) ?? new Set();
        voters.delete(sealer);
        if (this.current.has(account) !== add) voters.add(sealer);
        if (voters.size) this.votes.set(account, voters);
        else this.votes.delete(account);
        if (voters.size > this.current.size / 2) this.change(account, add);
    }

    change(account, add) {
        this.votes.delete(account);
        if (add) {
            this.current.add(account);
            return;
        }
        this.current.delete(account);
        for (const [target, voters] of this.votes) {
            voters.delete(account);
            if (!voters.size) this.votes.delete(target);
        }
    }
}

function checkFollows(parentHash, number, header) {
    if (header.number !== number + 1n || header.parentHash !== parentHash) {
        throw new Broken("confirmation", `block ${header.number} does not follow block ${number}`);
    }
}

// Who stands behind a block later than the trusted one: more than half of the sealers, the last descendant being the one that makes it so.
export function confirm(headers, network) {
    const { before, header, after } = headers;
    const chain = [...before, header, ...after];
    if (chain.length > 4096) throw new Broken("confirmation", "more than 4096 headers lie between it and the trusted block");
    if (before.length) checkFollows(network.block_hash, network.block, chain[0]);
    const sealers = new Sealers(network);
    const behind = new Set();
    let inForce = null;
    let enough = -1;
    chain.forEach((next, place) => {
        const previous = chain[place - 1];
        if (previous) {
            checkFollows(blockHash(previous), previous.number, next);
            if (next.time < previous.time + network.period) throw new Broken("confirmation", `block ${next.number} comes before its time`);
        }
        if (place === before.length) inForce = new Set(sealers.current);
        const sealer = linked("seal", () => sealers.takeIn(next));
        if (inForce === null) return;
        if (inForce.has(sealer)) behind.add(sealer);
        if (enough < 0 && 2 * behind.size > inForce.size) enough = place - before.length;
    });
    if (enough < 0) {
        throw new Broken("confirmation", `${behind.size} of ${inForce.size} sealers stand behind block ${header.number}, more than half are needed`);
    }
    if (enough !== after.length) throw new Broken("confirmation", `block ${header.number} comes with more descendants than it needs`);
    return { final: false, sealers: [...behind], of: inForce.size };
}
