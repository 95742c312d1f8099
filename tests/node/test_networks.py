"""What a network's folder holds, what its plan refuses, and the watchdog; nodes run in tests/network."""

from __future__ import annotations

import json
import subprocess
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import forked
import pytest
from coincurve import PrivateKey, PublicKey

from node import clique, strict_rlp
from node.errors import EngineFailed, KeystoreUnreadable, NetworkPlanInvalid
from node.genesis import rules_of
from node.networks import besu, geth
from node.networks.create import NODE_KEY, SEALER_KEY, create, members
from node.networks.keystore import read_key
from node.networks.plan import PLAN, Plan, decode_plan, encode_plan, read_plan
from node.networks.runs import alone, announce, runs
from node.networks.watchdog import STILL_SECONDS, SYNC_SECONDS, Watchdog
from node.signature import account_of
from node.walk import Walk

NAMES = ["First Hospital", "第二医院", "It's \"third\"; $(id)"]
SECRET = b"correct horse"
OPENED = {"CARESEAL_PASSPHRASE": SECRET.decode()}


def planned(names=NAMES, hosts=(), p2p_port=30303, rpc_port=8545, **changes) -> Plan:
    return replace(Plan(4242, 2, 30_000, 30_000_000, 1_790_000_000, members(names, hosts, p2p_port, rpc_port)), **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("networks") / "n"
    create(made, planned(), SECRET, work=16)
    return made


def test_a_folder_holds_each_members_part(folder):
    plan = read_plan(folder)
    assert [member.name for member in plan.members] == NAMES and len({member.sealer for member in plan.members}) == 3
    genesis = json.loads((folder / "genesis.json").read_bytes())
    assert genesis["config"]["chainId"] == 4242 and "londonBlock" not in genesis["config"]
    extra = clique.parse_extra(bytes.fromhex(genesis["extraData"][2:]))
    assert extra.signers == tuple(sorted(member.sealer for member in plan.members))
    for member in plan.members:
        own = folder / member.folder
        config = (own / "config.toml").read_text()
        for other in plan.members:
            assert (other.enode in config) == (other != member)
        assert "NoDiscovery = true" in config
        assert f"--member {member.number}" in (own / "start.sh").read_text()


def test_keys_open_under_the_passphrase_only_and_are_nowhere_in_clear(folder):
    for member in read_plan(folder).members:
        sealer, node = (read_key(folder / member.folder / name, SECRET) for name in (SEALER_KEY, NODE_KEY))
        assert account_of(PrivateKey(sealer).public_key) == member.sealer
        assert PrivateKey(node).public_key.format(compressed=False)[1:] == member.node_id
        with pytest.raises(KeystoreUnreadable, match="wrong passphrase"):
            read_key(folder / member.folder / SEALER_KEY, b"another")
        written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        for key in (sealer, node):
            assert key not in written and key.hex().encode() not in written


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"crypto": {}, "version": 3}', b"[" * 100_000])
def test_a_damaged_keystore_is_named(tmp_path, content):
    (tmp_path / "k").write_bytes(content)
    with pytest.raises(KeystoreUnreadable, match="keystore"):
        read_key(tmp_path / "k", SECRET)
    with pytest.raises(KeystoreUnreadable, match="cannot read"):
        read_key(tmp_path / "none", SECRET)


def test_start_scripts_are_safe_whatever_a_member_is_called(folder):
    script = folder / "member-3" / "start.sh"
    subprocess.run(["sh", "-n", script], check=True)
    assert "$(id)" in script.read_text().splitlines()[1] and script.read_text().splitlines()[1].startswith("#")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"names": []}, "1 to 100 members"),
        ({"names": ["a", "a"]}, "different names"),
        ({"names": ["a\nb", "c"]}, "printable"),
        ({"names": ["x" * 201]}, "printable"),
        ({"hosts": ["10.0.0.1"]}, "give --host once for each member"),
        ({"p2p_port": 65534}, "ports"),
        ({"p2p_port": 8546}, "further apart"),
        ({"period": 0}, "period"),
        ({"gas_limit": 1}, "gas limit"),
    ],
)
def test_a_plan_that_no_node_can_run_is_refused(tmp_path, changes, says):
    with pytest.raises(NetworkPlanInvalid, match=says):
        create(tmp_path / "n", planned(**changes), SECRET, work=16)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("passphrase", ["密码密码".encode(), b"two\nlines", b"\xff\xfe"])
def test_a_passphrase_that_geth_cannot_read_is_refused(tmp_path, passphrase):
    with pytest.raises(NetworkPlanInvalid, match="one line of ASCII"):
        create(tmp_path / "n", planned(), passphrase, work=16)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(folder):
    before = (folder / PLAN).read_bytes()
    with pytest.raises(NetworkPlanInvalid, match="exists already"):
        create(folder, planned(), SECRET, work=16)
    assert (folder / PLAN).read_bytes() == before


def test_members_on_machines_of_their_own_share_ports():
    spread = members(["a", "b"], ["10.0.0.1", "fd00::2"], 30303, 8545)
    assert {member.p2p_port for member in spread} == {30303} and "@[fd00::2]:30303" in spread[1].enode


def test_every_mutated_plan_is_refused(folder):
    data = (folder / PLAN).read_bytes()
    assert encode_plan(decode_plan(data)) == data
    values = json.loads(data)
    wrong = [b"", b"[]", b"{", data[:-20], b"[" * 100_000]
    for name in values:
        wrong.append(json.dumps({key: value for key, value in values.items() if key != name}).encode())
        wrong.append(json.dumps(values | {name: None}).encode())
    for name in values["members"][0]:
        one = dict(values["members"][0])
        for value in (None, "", -1, [], "zz"):
            if one[name] != value and not (name == "name" and value == "zz"):
                wrong.append(json.dumps(values | {"members": [one | {name: value}]}).encode())
    wrong += [json.dumps(values | {"members": values["members"] * 40}).encode(), json.dumps(values | {"more": 1}).encode()]
    wrong += [json.dumps(values | {"engine": "parity"}).encode(), json.dumps(values | {"chain_id": True}).encode()]
    for mutated in wrong:
        with pytest.raises(NetworkPlanInvalid, match="damaged"):
            decode_plan(mutated)


def test_one_process_runs_a_node_and_one_that_was_killed_is_forgotten(tmp_path):
    assert runs(tmp_path) is None
    announce(tmp_path, 1, "http://127.0.0.1:1", tmp_path / "ipc")
    assert runs(tmp_path) is None  # left over: nobody holds the lock
    with alone(tmp_path):
        assert runs(tmp_path) is None
        announce(tmp_path, 7, "http://127.0.0.1:2", tmp_path / "ipc")
        assert runs(tmp_path).pid == 7
        with pytest.raises(NetworkPlanInvalid, match="runs already"), alone(tmp_path):
            pass
    assert runs(tmp_path) is None


class StillNode:
    """A node whose head stays until it is set back; it cannot be provoked on a real one at will."""

    def __init__(self, signer: str, peers: int = 3) -> None:
        self.signer, self.peers, self.head, self.asked = signer, peers, 5, []

    def ask(self, method: str, *params: object):
        if method == "eth_getBlockByNumber":
            return {"hash": f"0x{self.head}", "number": hex(self.head)}
        if method == "net_peerCount":
            return hex(self.peers)
        if method == "clique_getSigner":
            return self.signer
        if method == "debug_setHead":
            self.head = int(params[0], 16)
        self.asked.append(method)
        return None


ME = b"\x11" * 20
PATIENCE = 1.5 * STILL_SECONDS
GIVEN_UP = ["miner_stop", "debug_setHead", "admin_removePeer", "admin_addPeer"]


def test_the_watchdog_gives_up_its_own_block_once_and_seals_again_on_the_next():
    node = StillNode("0x" + ME.hex())
    dog = Watchdog(node, ME, 1, lambda: 0.5, ["enode://a"])
    assert not any(dog.look(now) for now in range(int(PATIENCE)))
    assert dog.look(PATIENCE + 1) and node.head == 4 and node.asked == GIVEN_UP
    assert not dog.look(PATIENCE + 2) and node.asked[4:] == []
    node.head = 6  # a neighbour's chain came in
    dog.look(PATIENCE + 3)
    assert node.asked[4:] == ["miner_start"]


def test_the_watchdog_seals_again_where_no_neighbour_helped():
    node = StillNode("0x" + ME.hex())
    dog = Watchdog(node, ME, 1, lambda: 0.5, ["enode://a"])
    dog.look(0)
    assert dog.look(PATIENCE + 1)
    dog.look(PATIENCE + 2 + SYNC_SECONDS)
    assert node.asked == [*GIVEN_UP, "miner_start"]


@pytest.mark.parametrize(("signer", "peers"), [("0x" + "22" * 20, 3), ("0x" + ME.hex(), 0)])
def test_the_watchdog_gives_up_nobody_elses_block_and_none_without_neighbours(signer, peers):
    node = StillNode(signer, peers)
    dog = Watchdog(node, ME, 1, lambda: 0.5, ["enode://a"])
    assert not any(dog.look(now) for now in range(0, 200, 5)) and node.asked == []


def test_the_watchdog_outlives_a_node_that_does_not_answer():
    class Silent:
        def ask(self, *_: object):
            raise EngineFailed("no answer")

    assert not Watchdog(Silent(), ME, 1, lambda: 0.5, []).look(0.0)


def test_keys_are_on_no_command_line(folder):
    plan = read_plan(folder)
    words = " ".join(geth.command("geth", folder, plan, plan.members[0], folder / "ipc", 3, 4))
    assert "/dev/fd/3" in words and "/dev/fd/4" in words and "--http" not in words and SECRET.decode() not in words


# Besu

DOCUMENTED = bytes.fromhex(  # the genesis of "Configure QBFT consensus" in Besu's documentation
    "f87aa00000000000000000000000000000000000000000000000000000000000000000f8549464a702e6263b7297a96638cac6ae65e6541f4169943923390ad55e90c2"
    "37593b3b0e401f3b08a0318594aefdb9a738c9f433e5b6b212a6d62f6370c2f69294c7eeb9a4e00ce683cf93039b212648e01c6c6b78c080c0"
)


@pytest.fixture(scope="module")
def besu_folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("besu") / "n"
    create(made, planned(hosts=("10.0.0.1", "10.0.0.2", "10.0.0.3"), engine="besu"), SECRET, work=16)
    return made


def test_besus_genesis_is_as_its_documentation_says(besu_folder):
    genesis, plan = json.loads((besu_folder / "genesis.json").read_bytes()), read_plan(besu_folder)
    assert set(genesis) == {"config", "nonce", "timestamp", "extraData", "gasLimit", "difficulty", "mixHash", "coinbase", "alloc"}
    assert genesis["config"] == {
        "chainId": 4242, "berlinBlock": 0, "zeroBaseFee": True,
        "qbft": {"blockperiodseconds": 2, "epochlength": 30_000, "requesttimeoutseconds": 4},
    }  # fmt: skip
    assert genesis["mixHash"] == "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365" and genesis["difficulty"] == "0x1"
    assert (genesis["gasLimit"], genesis["timestamp"], genesis["alloc"]) == (hex(30_000_000), hex(1_790_000_000), {})
    assert (genesis["coinbase"], genesis["nonce"]) == ("0x" + "00" * 20, "0x0")
    # What is documented as a genesis' extra data is what is made here of the same validators.
    vanity, validators, vote, turn, seals = strict_rlp.decode_list(DOCUMENTED, max_depth=2)
    assert strict_rlp.encode([bytes(32), validators, [], b"", []]) == DOCUMENTED and (vanity, vote, turn, seals) == (bytes(32), [], b"", [])
    listed = strict_rlp.decode_list(bytes.fromhex(genesis["extraData"][2:]), max_depth=2)[1]
    assert listed == sorted(member.sealer for member in plan.members)
    # And the chain that it begins can be founded, replayed and followed.
    walk = Walk.begin(rules_of("qbft", genesis), genesis)
    assert walk.sealers.current == set(listed) and (walk.rules.period, walk.rules.epoch) == (2, 30_000)


def test_besus_nodes_know_the_members_and_nobody_else(besu_folder):
    plan = read_plan(besu_folder)
    for member in plan.members:
        own = besu_folder / member.folder
        assert account_of(PublicKey(b"\4" + member.node_id)) == member.sealer  # a validator is known by its node's key
        options = tomllib.loads((own / "config.toml").read_text())
        assert options == {
            "data-path": f"{member.folder}/data", "genesis-file": "genesis.json", "p2p-host": member.host, "p2p-port": member.p2p_port,
            "discovery-enabled": False, "static-nodes-file": f"{member.folder}/static-nodes.json",
            "permissions-nodes-config-file-enabled": True, "permissions-nodes-config-file": f"{member.folder}/permissions.toml",
            "remote-connections-limit-enabled": False, "rpc-http-enabled": True, "rpc-http-host": "127.0.0.1",
            "rpc-http-port": member.rpc_port, "rpc-http-api": ["ETH", "NET", "WEB3", "QBFT"], "host-allowlist": ["localhost", "127.0.0.1"],
            "min-gas-price": 0, "target-gas-limit": 30_000_000, "sync-mode": "FULL", "data-storage-format": "FOREST",
        }  # fmt: skip
        everybody = [other.enode for other in plan.members]
        assert json.loads((own / "static-nodes.json").read_text()) == [enode for enode in everybody if enode != member.enode]
        assert tomllib.loads((own / "permissions.toml").read_text()) == {"nodes-allowlist": everybody}


def test_besus_compose_file_and_manifest_name_what_is_there(besu_folder):
    plan = read_plan(besu_folder)
    compose = json.loads((besu_folder / "compose.yaml").read_text())
    for member in plan.members:
        service = compose["services"][member.folder]
        assert service["image"] == besu.IMAGE and service["command"][0] == f"--config-file={member.folder}/config.toml"
        assert service["secrets"][0]["source"] in compose["secrets"] and service["volumes"] == ["./:/network"]
        manifest = json.loads((besu_folder / member.folder / "kubernetes.yaml").read_text())
        files, node = manifest["items"]
        spec = node["spec"]["template"]["spec"]
        assert node["spec"]["selector"]["matchLabels"] == node["spec"]["template"]["metadata"]["labels"] and spec["hostNetwork"]
        mounts = {one["mountPath"]: one["subPath"] for one in spec["containers"][0]["volumeMounts"] if one["name"] == "files"}
        for path, name in mounts.items():
            assert files["data"][name] == (besu_folder / path.removeprefix("/network/")).read_text()
        assert files["metadata"]["name"] == spec["volumes"][0]["configMap"]["name"]


def test_besus_key_opens_under_the_passphrase_and_is_nowhere_in_clear(besu_folder, tmp_path):
    for member in read_plan(besu_folder).members:
        key = read_key(besu_folder / member.folder / SEALER_KEY, SECRET)
        assert account_of(PrivateKey(key).public_key) == member.sealer and not (besu_folder / member.folder / NODE_KEY).exists()
        written = b"".join(path.read_bytes() for path in besu_folder.rglob("*") if path.is_file())
        assert key not in written and key.hex().encode() not in written
        made = forked.here("network", "key", besu_folder, tmp_path / member.folder, "--member", member.number, environment=OPENED)
        assert made.code == 0 and made.out == "" and (tmp_path / member.folder).read_text() == "0x" + key.hex()
        assert (tmp_path / member.folder).stat().st_mode & 0o777 == 0o600
    again = forked.here("network", "key", besu_folder, tmp_path / "member-1", "--member", 1, environment=OPENED)
    assert again.code == 2 and "cannot write" in again.line()


def test_besus_start_script_takes_the_key_away_however_it_ends(besu_folder, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "careseal").write_text('#!/bin/sh\nprintf key > "$4"\n')
    (programs / "besu").write_text(f'#!/bin/sh\necho "$2" > {tmp_path}/said\ncat "${{2#*=}}" >> {tmp_path}/said\nexec sleep 30\n')
    for program in programs.iterdir():
        program.chmod(0o700)
    script = [besu_folder / "member-3" / "start.sh"]
    running = subprocess.Popen(script, env={"PATH": f"{programs}:/usr/bin:/bin"})
    while not (tmp_path / "said").exists() or b"key\n" not in (tmp_path / "said").read_bytes() + b"\n":
        time.sleep(0.05)
    file = Path((tmp_path / "said").read_text().splitlines()[0].partition("=")[2])
    assert file.read_text() == "key" and file.parent.stat().st_mode & 0o777 == 0o700
    running.terminate()
    assert running.wait(10) == 143 and not file.parent.exists()


def test_a_network_of_besu_is_not_run_by_careseal(besu_folder):
    for words in (("start",), ("run", "--member", "1")):
        outcome = forked.here("network", words[0], besu_folder, *words[1:], environment=OPENED)
        assert outcome.code == 2 and "start this one with each member's start.sh" in outcome.line()
    outcome = forked.here("network", "create", besu_folder.with_name("x"), "--member", "A", "--engine", "parity", environment=OPENED)
    assert outcome.code == 2 and "give geth or besu" in outcome.line()
