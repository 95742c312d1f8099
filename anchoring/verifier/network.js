// The network file, the root of trust. docs/spec.md, "Network file".

import { demand, fromHex } from "./bytes.js";
import { isObject, readJson } from "./json.js";

const MAX_BYTES = 2 ** 20;
const MAX_SEALERS = 1000;
const SIZES = { consortium: 20, consortium_code: 32, journals: 20, journals_code: 32, block_hash: 32 };
const NUMBERS = ["chain_id", "period", "epoch", "block"];

export class NetworkInvalid extends Error {}

function prefixed(text, size) {
    demand(typeof text === "string" && text.startsWith("0x") && text.length === 2 + 2 * size, "not 0x and hexadecimal digits");
    fromHex(text.slice(2));
    return text.slice(2);
}

function decoded(data) {
    demand(data.length <= MAX_BYTES, "too large");
    const values = readJson(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data));
    demand(isObject(values) && values.careseal === "network/1", "not a network file");
    demand(values.engine === "clique" || values.engine === "qbft", "an engine that this page does not know");
    const network = { engine: values.engine };
    for (const [name, size] of Object.entries(SIZES)) network[name] = prefixed(values[name], size);
    for (const name of NUMBERS) {
        demand(["number", "bigint"].includes(typeof values[name]) && values[name] >= 0 && values[name] < 2n ** 63n, "not a number");
        network[name] = BigInt(values[name]);
    }
    demand(Array.isArray(values.sealers) && values.sealers.length > 0 && values.sealers.length <= MAX_SEALERS, "no sealers");
    network.sealers = values.sealers.map((sealer) => prefixed(sealer, 20));
    demand(new Set(network.sealers).size === network.sealers.length && network.epoch > 0n, "a sealer twice, or no epoch");
    demand(Object.keys(values).length === 2 + Object.keys(SIZES).length + NUMBERS.length + 1, "an unknown field");
    return network;
}

// What is trusted: numbers as BigInts, addresses and hashes as hexadecimal digits without 0x.
export function readNetwork(data) {
    try {
        return decoded(data);
    } catch (error) {
        throw new NetworkInvalid(error.message);
    }
}
