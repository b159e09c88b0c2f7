"""Rows: what the host is like, and what is asked of its networks."""

from tests.faults.case import Bench, Case

ARTIFACT = """artifacts:
  - name: s
    dest: s
    sources:
      - url: https://127.0.0.1:9/s
        sha256: "%s"
"""


def _fetching(bench: Bench) -> None:
    bench.write("ovl/s/ovl.yaml", ARTIFACT % ("0" * 64))


LITTLE = ("at least 1280", "IPv6")

CASES = [
    Case("an MTU without room for IPv6, bridges", "$xc start --mtu=1000 --net=bridge", code=2, says=LITTLE),
    Case("an MTU without room for IPv6, user space", "__mtu=1279 $xc start --net=userspace", 2, LITTLE),
    Case(
        "one of the host's processors",
        "taskset -c $(taskset -cp $$ | grep -o '[0-9]*$') $xc doctor | grep processors",
        shows=(" 1 of the host's",),
    ),
    Case(
        "more nodes than memory",
        "$xc start --net=userspace --nvm=199 --nrouters=0 --mem=8192",
        code=1,
        says=("199 nodes", "--mem, or fewer nodes"),
    ),
    Case(
        "a loopback that is down",
        "unshare --net $xc start --net=userspace",
        code=1,
        says=("loopback of this network namespace is down: ip link set lo up",),
    ),
    Case(
        "a LAN with the addresses of net 1",
        "unshare --net sh -c 'ip link add lan0 type bridge && ip address add 192.168.1.7/24 dev lan0 && "
        "ip link set lan0 up && $xc doctor' | grep surroundings",
        shows=("192.168.1.0/24 (lan0) has addresses of net 1",),
    ),
    Case(
        "sysctls that cannot be written, as in Docker",
        "unshare --mount sh -c 'mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && "
        "$xc doctor' | grep '^ok *net '",
        shows=("userspace: no bridges: ", "Read-only file system"),
    ),
    Case(
        "a program for NICs that nobody uses, and that is none",
        "$xc start --net=userspace --net-setup=/nope",
        code=1,
        says=("'/nope' is no program",),
    ),
    Case(
        "certificates that a variable names, and that are not there",
        "REQUESTS_CA_BUNDLE=/nope $xc ovl:s",
        code=1,
        says=("REQUESTS_CA_BUNDLE: there is no /nope",),
        prepare=_fetching,
    ),
    Case(
        "an MTU in a superscript",
        "$xc br_setup --mtu=²²²² 1; a=$?; $xc br_setup --mtu=1000 1; b=$?; $xc br_setup ² && :; exit $a$b$?",
        code=222,
        says=("--mtu 1280 to 65521",),
    ),
]
