// The time stamp in evidence: its receipt is led to the checkpoint. Whether a TSA stamped it is not checked here. docs/spec.md, check 20.

import { demand, fromHex } from "./bytes.js";
import { readCanonical } from "./json.js";
import { checkConsistency } from "./merkle.js";

const FIELDS = "block,block_hash,careseal,chain_id,generation,institution,journals,root,signature,size,time"; // in the order of sort()

// The size of the stamped checkpoint. `last` is the number of the last entry that is shown.
export function stampedSize(part, last, checkpoint, network) {
    const receipt = readCanonical(part.receipt);
    demand(Object.keys(receipt).sort().join() === FIELDS && receipt.careseal === "receipt/1", "its receipt is none");
    const { chain_id: chain, journals, institution, generation, size } = receipt;
    demand([chain, institution, generation, size].every(Number.isInteger), "its receipt is none");
    const isMine = BigInt(chain) === network.chain_id && journals === `0x${network.journals}`;
    demand(isMine && institution === checkpoint.institution && generation === checkpoint.generation, "the stamped receipt is of another journal");
    demand(size > last, "the stamped receipt is older than what the evidence shows");
    checkConsistency(size, checkpoint.size, fromHex(receipt.root), checkpoint.root, part.consistency);
    return size;
}
