"""The shell library ovl/test: what needs no cluster. tests/boot/test_contract.py has the rest."""

import re

import pytest

from tests.cli.upstream.conftest import Env, Upstream

SOURCE = ". $($XCLUSTER ovld test)/default/usr/lib/xctest; "


def lib(upstream: Upstream, script: str, env: Env | None = None) -> str:
    """What a script that has sourced the library prints."""
    return upstream.good(SOURCE + script, env)


def test_sourcing_says_nothing(upstream: Upstream) -> None:
    ran = upstream.sh(SOURCE + "set -u")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_lines_go_to_the_log_and_to_people(upstream: Upstream) -> None:
    ran = upstream.sh(SOURCE + "tcase One; indent='  '; tlog Two")
    assert re.fullmatch(r"\d\d:\d\d:\d\d One\n  \d\d:\d\d:\d\d Two\n", ran.out)
    assert ran.err == ran.out
    assert lib(upstream, "(tcase One) 2>&1").count("One") == 1


def test_tdie(upstream: Upstream) -> None:
    ran = upstream.sh(SOURCE + "tdie broken; echo not reached")
    assert ran.code == 1
    assert "FAILED: broken" in ran.out and "FAILED: broken" in ran.err
    assert "not reached" not in ran.out


@pytest.mark.parametrize(
    ("before", "env", "counts"),
    [
        ("", {}, "4||"),
        ("__nvm=2; ", {}, "2||"),
        ("", {"XC_NVM": "5", "XC_NROUTERS": "1", "XC_NTESTERS": "2"}, "5|1|2"),
        (": ${__nvm:=2} ${__nrouters:=3}; ", {"XC_NVM": "5"}, "5|3|"),
        ("", {"XC_NVM": "5", "__nvm": "3", "__ntesters": "1"}, "5||1"),
    ],
)
def test_it_counts_the_nodes_that_a_start_would_have(
    upstream: Upstream, before: str, env: Env, counts: str
) -> None:
    shown = upstream.good(f'{before}{SOURCE}echo "$__nvm|${{__nrouters:-}}|${{__ntesters:-}}"', env)
    assert shown == f"{counts}\n"


def test_tex_repeats(upstream: Upstream) -> None:
    script = "n=0; more() { n=$((n + 1)); test $n -ge $1; }; __interval=0; tex more 3 && echo $n"
    assert lib(upstream, script) == "3\n"
    assert lib(upstream, "tex 'echo a b | grep -q b' && echo yes") == "yes\n"


@pytest.mark.parametrize("limit", ["__timeout=0", "__retries=2"])
def test_tex_gives_up(upstream: Upstream, limit: str) -> None:
    assert lib(upstream, f"{limit}; __interval=0; tex false; echo $?") == "1\n"


def test_push_and_pop(upstream: Upstream) -> None:
    script = (
        "unset __timeout; push 60; push; push X 'a b'; echo \"$__timeout|$indent|$X\"; pop; pop; "
        'echo "${__timeout-unset}|$indent|${X-unset}"; pop; pop; echo "${__timeout-unset}"'
    )
    assert lib(upstream, script).splitlines() == ["60|  |a b", "60||unset", "unset"]


def test_ogrep(upstream: Upstream) -> None:
    ran = upstream.sh(SOURCE + "echo abc | ogrep -q b && echo found; echo abc | ogrep x || echo lost")
    assert (ran.out, ran.err) == ("found\nlost\n", "abc\n")


@pytest.mark.parametrize(
    ("env", "value"),
    [({}, ""), ({"PREFIX": "1000::1"}, "1000::1"), ({"PREFIX": "a:", "xcluster_PREFIX": "b:"}, "b:")],
)
def test_the_prefix_is_exported(upstream: Upstream, env: dict[str, str], value: str) -> None:
    assert lib(upstream, "env | grep ^xcluster_PREFIX=", env) == f"xcluster_PREFIX={value}\n"


def test_numbers_of_nodes(upstream: Upstream) -> None:
    assert lib(upstream, "echo $__nvm ${__nrouters-unset}") == "4 unset\n"
    script = (
        "rsh() { echo $1; }; otcprog=p; __nvm=2; __nrouters=3; otcw x; otcr x; otct x; __ntesters=1; otct x"
    )
    assert lib(upstream, script).split() == ["1", "2", "201", "202", "203", "221"]


def test_cases_and_their_words(upstream: Upstream) -> None:
    upstream.write("mine/default/bin/mine_test", "tcase_one() { :; }\ntcase_two() { :; }\n")
    script = "dir=$PWD/mine; otcprog=mine_test; rsh() { shift; echo \"$*\" | sed 's,XCTEST_ONE=yes ,,'; }; "
    assert lib(upstream, script + "otc 1 'one a b'").splitlines() == ["mine_test tcase_one a b"]
    assert lib(upstream, script + "otc 1 one two").splitlines() == [
        "mine_test tcase_one",
        "mine_test tcase_two",
    ]
    assert lib(upstream, script + "otc 1 one 192.168.1.1").splitlines() == ["mine_test tcase_one 192.168.1.1"]


def test_a_case_that_fails_ends_the_test(upstream: Upstream) -> None:
    ran = upstream.sh(SOURCE + "otcprog=p; __nvm=3; rsh() { test $1 != 2; }; otcwp x; echo not reached")
    assert ran.code == 1
    assert "vm-002: x" in ran.out and "not reached" not in ran.out
    assert upstream.sh(SOURCE + "otcprog=p; __nvm=1; rsh() { :; }; otcwp x; echo reached").out == "reached\n"


def test_a_cluster_that_is_not_to_be_touched(upstream: Upstream) -> None:
    assert (
        lib(upstream, "__no_start=yes; xcluster_start mine; __no_stop=yes; xcluster_stop; echo ok") == "ok\n"
    )


def test_the_hook_comes_last(upstream: Upstream) -> None:
    hook = upstream.write("hook", "tcase() { echo mine; }\n")
    assert lib(upstream, "tcase x", {"XCTEST_HOOK": str(hook)}) == "mine\n"


def test_in_guests(upstream: Upstream) -> None:
    script = "unset XCLUSTER; hostname() { echo vm-021; }; . ovl-test/usr/lib/xctest; mynode; echo $i $PREFIX"
    out = upstream.good("cp -R $($XCLUSTER ovld test)/default ovl-test; " + script)
    assert out.split() == ["21", "21", "fd00:"]
