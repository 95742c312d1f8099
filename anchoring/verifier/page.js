// The page: files are chosen or dropped, checked, and the result is shown in the chosen language. Nothing is fetched or sent.

import { sha256 } from "@noble/hashes/sha2.js";
import { Broken, toHex } from "./bytes.js";
import { verify } from "./evidence.js";
import { JournalUnreadable, scanJournal } from "./journal.js";
import { NetworkInvalid } from "./network.js";
import { banner, brokenReport, element, isoTime, validReport } from "./report.js";
import { filled, LANGUAGES } from "./texts.js";

const MAX_READ = 2 ** 25 + 1; // one byte more than evidence may have: the container then refuses it

const chosen = { evidence: null, network: null, journal: null };
let language = navigator.language.startsWith("zh") ? "zh" : "en";
let outcome = { state: "waiting" };
let attempt = 0;

function byId(id) {
    return document.getElementById(id);
}

async function bytesOf(file) {
    return new Uint8Array(await file.slice(0, MAX_READ).arrayBuffer());
}

async function check() {
    const [evidence, network] = [await bytesOf(chosen.evidence), await bytesOf(chosen.network)];
    const proved = verify(evidence, network);
    const later = chosen.journal && proved.kind !== "audit" ? await scanJournal(chosen.journal, proved) : null;
    const digests = { evidenceDigest: toHex(sha256(evidence)), networkDigest: toHex(sha256(network)) };
    return { state: "valid", proved, later, ...digests, checkedAt: isoTime(Date.now()) };
}

function failure(error) {
    if (error instanceof Broken) return { state: "invalid", error };
    const text = error instanceof NetworkInvalid ? "badNetwork" : error instanceof JournalUnreadable ? "badJournal" : "unreadable";
    return { state: "unknown", error, text };
}

// Checks what is chosen now; the answer to an earlier choice is dropped.
async function refresh() {
    const mine = ++attempt;
    if (!chosen.evidence || !chosen.network) {
        outcome = { state: "waiting" };
        show();
        return;
    }
    outcome = { state: "working" };
    show();
    await new Promise((resolve) => setTimeout(resolve, 30)); // lets the browser paint
    const result = await check().catch(failure);
    if (mine !== attempt) return;
    outcome = result;
    show();
    byId("result").scrollIntoView();
}

function report(t) {
    switch (outcome.state) {
        case "valid":
            return validReport(outcome, t);
        case "invalid":
            return brokenReport(outcome.error, t);
        case "unknown":
            return [banner("unknown", t.unknown, t[outcome.text], element("span", { lang: "en" }, outcome.error.message))];
        case "unrecognised":
            return [banner("unknown", t.unknown, filled(t[outcome.text], outcome))];
        default:
            return [element("p", { class: "waiting" }, t[outcome.state])];
    }
}

function show() {
    const t = LANGUAGES[language];
    document.documentElement.lang = language;
    document.title = t.title;
    for (const marked of document.querySelectorAll("[data-text]")) marked.textContent = t[marked.dataset.text];
    for (const button of document.querySelectorAll("[data-language]")) {
        button.setAttribute("aria-pressed", String(button.dataset.language === language));
    }
    byId("evidence-name").textContent = chosen.evidence?.name ?? t.none;
    byId("network-name").textContent = chosen.network?.name ?? t.none;
    byId("journal-name").textContent = chosen.journal ? filled(t.files, { n: chosen.journal.size }) : t.none;
    byId("print").hidden = outcome.state !== "valid" && outcome.state !== "invalid";
    byId("result").replaceChildren(...report(t));
}

// An exported journal by paths within its folder, which is where "tile" is.
function journalOf(files) {
    const found = files.map(([path, file]) => [path.match(/(?:^|\/)(tile\/.*)$/)?.[1], file]).filter(([path]) => path);
    return found.length ? new Map(found) : null;
}

function refuse(text, name) {
    outcome = { state: "unrecognised", text, name };
    show();
}

async function take(files) {
    for (const file of files) {
        const start = new TextDecoder().decode(await file.slice(0, 2 ** 20).arrayBuffer());
        if (/"careseal"\s*:\s*"network\//.test(start)) chosen.network = file;
        else if (/"(careseal|audit|chain)"\s*:/.test(start)) chosen.evidence = file;
        else return refuse("dropped", file.name);
    }
    return refresh();
}

// From a page that is a file itself, browsers let no dropped folder be read.
function dropped(event) {
    event.preventDefault();
    const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
    if (items.some((item) => item.webkitGetAsEntry()?.isDirectory)) refuse("droppedFolder", "");
    else take(items.map((item) => item.getAsFile()));
}

function listen() {
    byId("evidence").addEventListener("change", ({ target }) => {
        chosen.evidence = target.files[0] ?? null;
        refresh();
    });
    byId("network").addEventListener("change", ({ target }) => {
        chosen.network = target.files[0] ?? null;
        refresh();
    });
    byId("journal").addEventListener("change", ({ target }) => {
        chosen.journal = target.files.length ? (journalOf(Array.from(target.files, (file) => [file.webkitRelativePath, file])) ?? new Map()) : null;
        refresh();
    });
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", dropped);
    for (const button of document.querySelectorAll("[data-language]")) {
        button.addEventListener("click", () => {
            language = button.dataset.language;
            show();
        });
    }
    byId("print").addEventListener("click", () => print());
}

listen();
show();

// For programs that drive a browser: verify(evidence bytes, network bytes), scanJournal(map of path to file, what verify returned).
globalThis.Careseal = Object.freeze({ verify, scanJournal });
