"""The vectors of evidence files: valid ones of every kind and chain, and broken ones with the link that breaks.

`python -m tests.evidence_vectors` writes tests/vectors/evidence again; a test asserts that nothing would change.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from anchoring.container import encode, plain
from anchoring.network import encode_network
from anchoring.tlog import lay_out
from node.header import Header

if __package__:
    from tests.evidence_world import SEALERS, CliqueChain, State, World, chain_part, qbft_header, seed
else:
    from evidence_world import SEALERS, CliqueChain, State, World, chain_part, qbft_header, seed

VECTORS = Path(__file__).parent / "vectors" / "evidence"

Edit = Callable[[dict[str, Any]], object]


def edited(parts: dict[str, Any], edit: Edit) -> bytes:
    """The file with one thing changed in a copy of its parts."""
    changed = copy.deepcopy(parts)
    edit(changed)
    return encode(changed)


def flip(text: str, at: int = -1) -> str:
    """The same hex with one digit changed."""
    at %= len(text)
    return text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]


def _set(*path: Any, to: Any) -> Edit:
    def edit(parts: Any) -> None:
        for step in path[:-1]:
            parts = parts[step]
        parts[path[-1]] = to(parts[path[-1]]) if callable(to) else to

    return edit


# Name of the vector, what it is made of, what was done to it, the link that breaks.
BROKEN: list[tuple[str, str, str, Edit, str]] = [
    ("other-version", "record", "clique-1", _set("careseal", to="evidence/3"), "container"),
    ("other-kind", "record", "clique-1", _set("kind", to="consent"), "container"),
    ("kind-of-another", "record", "clique-1", _set("kind", to="history"), "container"),
    ("part-missing", "record", "clique-1", lambda p: p.pop("storage"), "container"),
    ("part-unknown", "record", "clique-1", lambda p: p.update(remark={}), "container"),
    ("field-missing", "record", "clique-1", lambda p: p["record"].pop("secret"), "container"),
    ("field-unknown", "record", "clique-1", lambda p: p["chain"].update(remark=""), "container"),
    ("number-as-text", "record", "clique-1", _set("checkpoint", "size", to="21"), "container"),
    ("negative", "record", "clique-1", _set("record", "index", to=-1), "container"),
    ("upper-case-hex", "record", "clique-1", _set("record", "secret", to=str.upper), "container"),
    ("too-many-nodes", "record", "clique-1", _set("storage", "meta", to=["00"] * 66), "container"),
    ("half-a-field", "fields", "clique-1", lambda p: p["record"]["fields"][2].pop("salt"), "container"),
    ("row-null", "record", "clique-1", _set("record", "row", to=None), "container"),
    ("row-edited", "record", "clique-1", _set("record", "row", to=flip), "record"),
    ("secret-edited", "record", "clique-1", _set("record", "secret", to=flip), "record"),
    ("entry-edited", "record", "clique-1", _set("record", "entry", to=flip), "record"),
    ("entry-of-another-time", "record", "clique-1", _set("record", "entry", to=lambda e: flip(e, 15)), "journal"),
    ("deletion-as-record", "latest-deleted", "clique-1",
     lambda p: (p.update(kind="record"), p["record"].update(row="", secret="")), "record"),
    ("field-edited", "fields", "clique-1", _set("record", "fields", 2, "value", to=flip), "record"),
    ("salt-edited", "fields", "clique-1", _set("record", "fields", 2, "salt", to=flip), "record"),
    ("digest-edited", "fields", "clique-1", _set("record", "fields", 0, "digest", to=flip), "record"),
    ("fields-swapped", "fields", "clique-1", _set("record", "fields", to=lambda f: [f[1], f[0], *f[2:]]), "record"),
    ("field-dropped", "fields", "clique-1", _set("record", "fields", to=lambda f: f[:-1]), "record"),
    ("no-field-opened", "fields", "clique-1", _set("record", "fields", to=lambda f: [{"digest": "00" * 32} for _ in f]), "record"),
    ("row-without-secret", "history", "clique-1", _set("versions", 0, "secret", to=None), "record"),
    ("history-without-first", "history", "clique-1", lambda p: p["versions"].pop(0), "history"),
    ("history-with-a-gap", "history", "clique-1", lambda p: p["versions"].pop(1), "history"),
    ("history-reordered", "history", "clique-1", lambda p: p["versions"].reverse(), "history"),
    ("history-repeated", "history", "clique-1", lambda p: p["versions"].append(p["versions"][-1]), "history"),
    ("history-empty", "history", "clique-1", _set("versions", to=[]), "history"),
    ("document-edited", "record", "clique-1", _set("configuration", "document", to=lambda d: flip(d, 40)), "configuration"),
    ("configuration-salt", "record", "clique-1", _set("configuration", "salt", to=flip), "configuration"),
    ("configuration-proof", "record", "clique-1", _set("configuration", "proof", 0, to=flip), "configuration"),
    ("record-proof", "record", "clique-1", _set("record", "proof", 0, to=flip), "journal"),
    ("record-index", "record", "clique-1", _set("record", "index", to=11), "journal"),
    ("audit-document", "audit", "clique-1", _set("audit", "document", to=lambda d: flip(d, 40)), "audit"),
    ("audit-consistency", "audit", "clique-1", _set("audit", "consistency", 0, to=flip), "audit"),
    ("audit-empty-consistency", "audit-empty", "clique-1", _set("audit", "consistency", to=["00" * 32]), "audit"),
    ("other-chain", "record", "clique-1", _set("checkpoint", "chain_id", to=1), "network"),
    ("header-cut", "record", "clique-1", _set("chain", "header", to=lambda h: h[:-2]), "header"),
    ("account-proof", "record", "clique-1", _set("storage", "account", 0, to=flip), "storage"),
    ("slot-proof-dropped", "record", "clique-1", _set("storage", "root", to=lambda n: n[:-1]), "storage"),
    ("slot-proofs-swapped", "record", "clique-1",
     lambda p: p["storage"].update(meta=p["storage"]["root"], root=p["storage"]["meta"]), "storage"),
    ("other-checkpoint", "record", "clique-1", _set("checkpoint", "index", to=1), "storage"),
    ("institution-name", "record", "clique-1", _set("institution", "name", to=flip), "institution"),
    ("header-edited", "record", "clique-1", _set("chain", "header", to=lambda h: flip(h, -2 * 105)), "seal"),
    ("too-few-sealers", "record", "clique-3", _set("chain", "after", to=[]), "confirmation"),
    ("descendants-reordered", "record", "clique-votes", lambda p: p["chain"]["before"].reverse(), "confirmation"),
    ("votes-cut", "record", "clique-votes", lambda p: p["chain"]["before"].pop(0), "confirmation"),
    ("votes-left-out", "record", "clique-votes", _set("chain", "before", to=[]), "seal"),
    ("descendant-too-many", "record", "clique-1", lambda p: p["chain"]["after"].append(p["chain"]["header"]), "confirmation"),
    ("qbft-descendant", "record", "qbft-4", lambda p: p["chain"]["after"].append(p["chain"]["header"]), "confirmation"),
    ("qbft-step-left-out", "record", "qbft-votes", lambda p: p["chain"]["before"].clear(), "confirmation"),
    ("qbft-steps-reordered", "record", "qbft-votes", lambda p: p["chain"]["before"].reverse(), "confirmation"),
]  # fmt: skip


def _receipt(**others: object) -> Edit:
    """The receipt with other values, in its canonical writing."""

    def edit(parts: dict[str, Any]) -> None:
        receipt = json.loads(bytes.fromhex(parts["timestamp"]["receipt"])) | others
        parts["timestamp"]["receipt"] = json.dumps(receipt, sort_keys=True, separators=(",", ":")).encode().hex()

    return edit


_STAMPS: list[tuple[str, Edit]] = [
    ("timestamp-no-receipt", _set("timestamp", "receipt", to="7b7d")),
    ("timestamp-root", _receipt(root="00" * 32)),
    ("timestamp-size", _receipt(size=19)),
    ("timestamp-real", _set("timestamp", "receipt", to=lambda r: r.replace(b'"size":20'.hex(), b'"size":2e1'.hex()))),
    ("timestamp-chain", _receipt(chain_id=7)),
    ("timestamp-contract", _receipt(journals="0x" + "00" * 20)),
    ("timestamp-institution", _receipt(institution=1)),
    ("timestamp-generation", _receipt(generation=1)),
    ("timestamp-more", _receipt(remark="")),
    ("timestamp-version", _receipt(careseal="receipt/2")),
    ("timestamp-consistency", _set("timestamp", "consistency", to=[])),
]


def _forged_headers(world: World) -> dict[str, tuple[str, bytes, str, str]]:
    """Headers that are sealed by too few, by the same twice, by strangers, or that are too old."""
    state, four, forged = world.state.state_root, SEALERS[:4], {}

    def put(name: str, chain: str, head: Header, after: Sequence[Header], link: str, what: str) -> None:
        data = edited(world.parts("record", chain), lambda p: p.update(chain=plain(chain_part((), head, after))))
        forged[name] = (chain, data, link, what)

    put("qbft-too-few", "qbft-4", qbft_header(60, state, four, four[:2]), (), "seal", "two of four validators sealed it")
    put("qbft-repeated", "qbft-4", qbft_header(60, state, four, (four[0], four[1], four[0])), (), "seal", "one validator sealed it twice")
    put("qbft-foreign", "qbft-4", qbft_header(60, state, four, (four[0], four[1], SEALERS[6])), (), "seal", "a stranger's commit seal")
    strangers = SEALERS[4:8]
    put("qbft-foreign-set", "qbft-4", qbft_header(60, state, strangers, strangers), (), "confirmation", "validators of their own making")
    third = SEALERS[3:7]
    put("qbft-third", "qbft-4", qbft_header(60, state, third, third), (), "confirmation", "a new set with one of four of the old one")
    put("qbft-old", "qbft-4", qbft_header(39, state, four, four[:3]), (), "network", "older than the trusted block")
    chain = CliqueChain(tuple(SEALERS[:1]), state)
    put("clique-foreign", "clique-1", chain.seal(SEALERS[5], state_root=state), (), "seal", "sealed by a stranger")
    chain = CliqueChain(tuple(SEALERS[:3]), state)
    head = chain.seal(SEALERS[2], state_root=state)
    put("clique-repeated", "clique-3", head, (chain.seal(SEALERS[2]),), "seal", "one sealer twice in a row")
    chain = CliqueChain(tuple(SEALERS[:3]), state)
    head = chain.seal(SEALERS[2], state_root=state)
    hasty = chain.seal(SEALERS[0], timestamp=head.timestamp)
    put("clique-early", "clique-3", head, (hasty,), "confirmation", "a descendant before its time")
    old = CliqueChain(tuple(SEALERS[:1]), state, trusted=30)
    put("clique-old", "clique-1", old.seal(SEALERS[0], state_root=state), (), "network", "older than the trusted block")
    return forged


def vectors() -> dict[str, bytes]:
    """Every file under tests/vectors/evidence by its name. index.json tells what each evidence file is, and which link breaks."""
    world = World()
    files: dict[str, bytes] = {f"{name}.network.json": encode_network(network) for name, (network, _) in world.chains.items()}
    index: list[dict[str, object]] = []

    def put(name: str, chain: str, data: bytes, link: str | None, what: str, **more: object) -> None:
        files[f"{name}.json"] = data
        index.append({"file": f"{name}.json", "network": f"{chain}.network.json", "link": link, "description": what, **more})

    for subject in world.subjects:
        journal: dict[str, object] = {} if subject.startswith("audit") else {"journal": "journal"}
        if journal:
            journal["journal_link"] = "latest" if subject == "latest-not" else None
        put(f"valid-{subject}", "clique-1", encode(world.parts(subject)), None, f"valid: {subject}", **journal)
    for chain in list(world.chains)[1:]:
        put(f"valid-{chain}", chain, encode(world.parts("record", chain)), None, f"valid: a record, proved by {chain}")
    stamped = world.parts("record") | {"timestamp": world.stamped()}
    put("valid-timestamp", "clique-1", encode(stamped), None, "valid: a record with a time stamp, whose token is none: it is not checked")
    for name, edit in _STAMPS:
        put(f"broken-{name}", "clique-1", edited(stamped, edit), "timestamp", f"timestamp: {name}")
    put("broken-timestamp-old", "clique-1", encode(stamped | {"timestamp": world.stamped(size=12)}), "timestamp", "of an older checkpoint")
    for name, subject, chain, edit, link in BROKEN:
        put(f"broken-{name}", chain, edited(world.parts(subject, chain), edit), link, f"{subject}, {chain}: {name}")
    for name, (chain, data, link, what) in _forged_headers(world).items():
        put(f"broken-{name}", chain, data, link, what)
    put("broken-network", "qbft-4", encode(world.parts("record")), "seal", "a network file of another engine")
    for name, state in (("checkpoint-other-root", State(len(world.journal.entries), seed("other"))),
                        ("checkpoint-later", State(len(world.journal.entries), world.state.root, taken=99))):  # fmt: skip
        chain = CliqueChain((SEALERS[0],), state.state_root)
        head = chain.seal(SEALERS[0], state_root=state.state_root)
        other = {"chain": chain_part((), head, ()), "storage": state.storage, "institution": state.institution}
        files[f"{name}.network.json"] = encode_network(chain.network())
        put(f"broken-{name}", name, encode(world.parts("record") | plain(other)), "checkpoint", name)  # type: ignore[operator]
    data = encode(world.parts("record"))
    put("broken-truncated", "clique-1", data[: len(data) // 2], "container", "half of a file")
    put("broken-spaced", "clique-1", data.replace(b":", b": ", 1), "container", "other white space")
    put("broken-twice", "clique-1", data.replace(b'"kind":"record"', b'"kind":"record","kind":"record"'), "container", "a field twice")
    put("broken-real", "clique-1", data.replace(b'"index":12', b'"index":1.2e1'), "container", "a number as a real")
    files["index.json"] = json.dumps(index, indent=1, ensure_ascii=False).encode() + b"\n"
    entries = world.journal.entries
    lay_out([entries], lambda path, content: files.update({f"journal/{path}": content}) if "entries" in path else None)
    return files


def main() -> None:
    for path in VECTORS.rglob("*") if VECTORS.exists() else ():
        if path.is_file():
            path.unlink()
    for name, content in vectors().items():
        (VECTORS / name).parent.mkdir(parents=True, exist_ok=True)
        (VECTORS / name).write_bytes(content)


if __name__ == "__main__":
    main()
