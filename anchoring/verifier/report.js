// The result of a check as elements of the page: what is proved, what is not, what it rests on, and the record.

import { toHex } from "./bytes.js";
import { filled } from "./texts.js";

export function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
}

// Milliseconds since 1970 UTC as ISO 8601 to the second; in seconds where no calendar has them, for a header may say anything.
export function isoTime(milliseconds) {
    const year10000 = 253402300800000;
    if (milliseconds >= year10000) return `${(milliseconds / 1000).toFixed(0)} s`;
    return `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
}

// Long digits may break anywhere; a screen reader still reads them whole.
function digits(text) {
    return element("code", {}, text);
}

function list(title, className, items) {
    return element("section", { class: className }, element("h3", {}, title), element("ul", {}, ...items.map((item) => element("li", {}, item))));
}

function facts(title, rows) {
    const pairs = rows.filter(([, value]) => value !== null).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
    return element("section", {}, element("h3", {}, title), element("dl", {}, ...pairs));
}

export function banner(state, title, ...lines) {
    return element("div", { class: `banner ${state}` }, element("h2", {}, title), ...lines.map((line) => element("p", {}, line)));
}

export function brokenReport(error, t) {
    const [name, meaning] = t.links[error.link];
    const detail = element("details", {}, element("summary", {}, t.detail), element("p", { lang: "en" }, error.message));
    return [banner("invalid", t.invalid, filled(t.brokenAt, { link: `${name} (${error.link})` }), meaning, t.nothing), detail];
}

export function validReport(result, t) {
    const { proved, later } = result;
    const about = proved.kind === "audit" ? [auditReport(proved, t)] : proved.versions.map((version) => versionReport(version, t));
    return [
        banner("valid", t.valid, firstProof(proved, t)),
        list(t.provedTitle, "proved", provedItems(proved, later, t)),
        list(t.unprovedTitle, "unproved", unprovedItems(proved, later, t)),
        ...about,
        foundation(result, t),
    ];
}

function last(proved) {
    return proved.versions[proved.versions.length - 1];
}

function firstProof(proved, t) {
    const { name, institution: id, block } = proved.anchored;
    if (proved.kind === "audit") return filled(t.provedAudit, { name, id, block });
    return filled(proved.kind === "history" ? t.provedHistory : t.provedRecord, { name, id, block, version: last(proved).version });
}

function provedItems(proved, later, t) {
    const { anchored } = proved;
    const stands = { count: anchored.sealers.length, of: anchored.of, block: anchored.header_block };
    const items = [];
    if (proved.kind !== "audit" && proved.versions.some((version) => version.values)) items.push(t.provedShown);
    if (proved.kind !== "audit" && isSealedWhenWritten(proved.versions[0])) items.push(t.provedSealedWhenWritten);
    if (later?.isLast) items.push(filled(t.provedLast, later));
    const how = anchored.final ? t.provedFinal : t.provedConfirmed;
    items.push(filled(stands.count ? how : t.provedTrusted, stands));
    return items;
}

function isSealedWhenWritten(version) {
    return version.change === "written" && version.captured && !version.baseline && !version.marks.length;
}

function unprovedItems(proved, later, t) {
    const { anchored } = proved;
    const items = proved.kind === "audit" ? [t.unprovedAudit] : unprovedOfRecord(proved, later, t);
    if (!anchored.final && anchored.sealers.length) items.push(t.unprovedFork);
    if (proved.stamp !== null) items.push(filled(t.unprovedStamp, { size: proved.stamp }));
    return [...items, t.unprovedTimes, t.unprovedTruth];
}

function unprovedOfRecord(proved, later, t) {
    const { versions } = proved;
    const [first] = versions;
    const items = [];
    if (first.baseline) items.push(t.unprovedBaseline);
    else if (first.change === "amended") items.push(t.unprovedAmended);
    else if (first.change === "written" && !first.captured) items.push(t.unprovedOrigin);
    const marks = [...new Set(versions.flatMap((version) => version.marks))];
    if (marks.length) items.push(filled(t.unprovedMarks, { marks: markNames(marks, t) }));
    if (proved.hidden.length) items.push(filled(t.unprovedHidden, { columns: proved.hidden.join(", ") }));
    if (versions.some((version) => !version.values && version.change !== "deleted")) items.push(t.unprovedContent);
    if (!later) items.push(t.unprovedLater);
    else if (!later.isLast) items.push(filled(t.unprovedStale, later));
    return items;
}

function markNames(marks, t) {
    return marks.map((mark) => t.markNames[mark]).join("; ");
}

function versionReport(version, t) {
    const title = `${filled(t.version, version)} (${t.changes[version.change]})`;
    const origin = version.baseline ? "baseline" : version.captured ? "captured" : "other";
    const section = facts(title, [
        [t.entry, String(version.entry)], [t.sealedAt, isoTime(version.sealed_at * 1000)], [t.origin, t.origins[origin]],
        [t.marks, version.marks.length ? markNames(version.marks, t) : null],
    ]);
    if (!version.values) {
        section.append(element("p", {}, version.change === "deleted" ? t.recordDeleted : t.contentHidden));
        return section;
    }
    const rows = version.values.map(([name, value]) => {
        const cell = value === null ? element("td", { class: "null" }, t.empty) : element("td", {}, value);
        return element("tr", {}, element("th", { scope: "row" }, name), cell);
    });
    const head = element("tr", {}, element("th", { scope: "col" }, t.column), element("th", { scope: "col" }, t.value));
    section.append(element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
    return section;
}

function auditReport(proved, t) {
    const { audit } = proved;
    const section = facts(t.auditTitle, [
        [t.entry, String(proved.entry)], [t.sealedAt, isoTime(proved.sealed_at * 1000)], [t.auditAt, isoTime(audit.at)],
        [t.auditSize, String(audit.size)], [t.auditFindings, String(audit.findings)],
    ]);
    section.append(element("ul", {}, ...audit.tables.map((table) => element("li", {}, digits(JSON.stringify(table))))));
    return section;
}

function foundation(result, t) {
    const { proved, evidenceDigest, networkDigest, checkedAt } = result;
    const { anchored } = proved;
    const isRecord = proved.kind !== "audit";
    return facts(t.facts, [
        [t.kind, t.kinds[proved.kind]],
        [t.name, `${anchored.name} (${anchored.institution})`],
        [t.table, isRecord ? proved.table : null],
        [t.sourceTable, isRecord && proved.source_table !== proved.table ? proved.source_table : null],
        [t.key, isRecord ? proved.key.join(", ") : null],
        [t.recordId, isRecord ? digits(proved.record) : null],
        [t.checkpointSize, digits(filled(t.checkpointText, { ...anchored, root: toHex(anchored.root) }))],
        [t.anchoredBlock, String(anchored.block)],
        [t.provedBlock, filled(t.blockText, { block: anchored.header_block, time: isoTime(Number(anchored.header_time) * 1000) })],
        [t.sealers, anchored.sealers.length ? digits(anchored.sealers.map((sealer) => `0x${sealer}`).join(" ")) : null],
        [t.chain, filled(t.chainText, { id: anchored.chain_id, engine: anchored.engine })],
        [t.evidenceDigest, digits(evidenceDigest)],
        [t.networkDigest, digits(networkDigest)],
        [t.checkedAt, checkedAt],
    ]);
}
