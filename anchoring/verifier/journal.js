// A whole journal, as exported (C2SP tlog-tiles), searched for later versions of a record. docs/spec.md, "Later versions".

import { Broken, demand, equal, linked, toHex } from "./bytes.js";
import { checkEntry, isRecord, readRecordEntry, recordIdOf } from "./entries.js";
import { Root } from "./merkle.js";

const WIDTH = 256;
const MAX_BUNDLE = WIDTH * (2 + 512);

export class JournalUnreadable extends Error {}

// The last version in the journal up to the checkpoint. `folder` maps paths, as "tile/entries/000", to files.
export async function scanJournal(folder, proved) {
    const { size, root } = proved.anchored;
    const tree = new Root();
    const found = [];
    for (let number = 0; number * WIDTH < size; number++) {
        const width = Math.min(size - number * WIDTH, WIDTH);
        const { data, held } = await bundle(folder, number, width);
        linked("journal", () => {
            for (const entry of entriesOf(data, held).slice(0, width)) {
                if (toHex(recordIdOf(entry)) === proved.record) {
                    checkEntry(entry);
                    if (isRecord(entry)) found.push({ version: readRecordEntry(entry).version, index: tree.size });
                }
                tree.add(entry);
            }
        });
    }
    if (!equal(tree.value(), root)) throw new Broken("journal", "the exported journal is not the one of the checkpoint");
    if (found.some(({ version }, i) => version !== i + 1)) throw new Broken("journal", "the journal has two histories of this record");
    const last = found[found.length - 1];
    const isLast = last.index === proved.versions[proved.versions.length - 1].entry;
    if (proved.kind === "latest" && !isLast) throw new Broken("latest", `entry ${last.index} of the journal is a later version, ${last.version}`);
    return { ...last, isLast, size };
}

// A bundle that holds at least so many entries: the export may have gone on since.
async function bundle(folder, number, width) {
    const path = `tile/entries/${grouped(number)}`;
    if (folder.has(path)) return read(folder.get(path), WIDTH);
    const partial = [...folder.keys()].filter((name) => name.startsWith(`${path}.p/`)).map((name) => name.slice(path.length + 3));
    const widths = partial.filter((name) => /^[0-9]+$/.test(name)).map(Number);
    const held = Math.min(...widths.filter((many) => many >= width && many < WIDTH));
    if (held === Infinity) throw new JournalUnreadable(`there is no ${path}: the export ends too early, or is none`);
    return read(folder.get(`${path}.p/${held}`), held);
}

async function read(file, held) {
    return { data: new Uint8Array(await file.slice(0, MAX_BUNDLE + 1).arrayBuffer()), held };
}

function grouped(number) {
    const groups = String(number).padStart(3 * Math.ceil(String(number).length / 3), "0").match(/.../g);
    return groups.map((group, i) => (i < groups.length - 1 ? `x${group}` : group)).join("/");
}

// Each entry of a bundle stands after its length in two bytes.
function entriesOf(data, count) {
    const entries = [];
    let at = 0;
    for (let i = 0; i < count; i++) {
        const end = at + 2 + data[at] * 256 + data[at + 1];
        demand(end <= data.length, "a bundle ends too early");
        entries.push(data.subarray(at + 2, end));
        at = end;
    }
    demand(at === data.length, "a bundle holds more than its entries");
    return entries;
}
