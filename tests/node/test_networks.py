"""What a network's folder holds, what its plan refuses, and the watchdog; nodes run in tests/network."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from node import clique
from node.errors import EngineFailed, KeystoreUnreadable, NetworkPlanInvalid
from node.networks import geth
from node.networks.create import NODE_KEY, SEALER_KEY, create, members
from node.networks.keystore import read_key
from node.networks.plan import PLAN, Plan, decode_plan, encode_plan, read_plan
from node.networks.runs import alone, announce, runs
from node.networks.watchdog import STILL_SECONDS, SYNC_SECONDS, Watchdog
from node.signature import account_of

NAMES = ["First Hospital", "第二医院", "It's \"third\"; $(id)"]
SECRET = b"correct horse"


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
    from coincurve import PrivateKey

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
    import subprocess

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
