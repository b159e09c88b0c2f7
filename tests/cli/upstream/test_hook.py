"""XCLUSTER_HOOK: verbs of a user's own, and ours replaced."""

import pytest

from tests.cli.upstream.conftest import XC, Upstream

HOOK = """
cmd_mystart() {
	cmd_env
	echo "$cmd|$XCLUSTER_TMP|$__mem|$__nvm|$__foo|$*"
	test "$1" != bad || die "bad word"
}
cmd_where() { cmd_ovld "$@"; }
"""


@pytest.fixture
def hooked(upstream: Upstream) -> Upstream:
    """A user with a hook."""
    return Upstream(upstream.root, {"XCLUSTER_HOOK": str(upstream.write("my.hook", HOOK, 0o644))})


def test_a_verb_of_the_hook(hooked: Upstream) -> None:
    out = hooked.good("__nvm=3 $XCLUSTER mystart --foo=bar --mem=200 a b").strip()
    assert out == f"mystart|{hooked.workspace}/tmp/xcluster|200|3|bar|a b"


def test_it_may_fail(hooked: Upstream) -> None:
    ran = hooked.sh("$XCLUSTER mystart bad")
    assert (ran.code, ran.err) == (1, "ERROR: bad word\n")


def test_our_words_are_functions(hooked: Upstream) -> None:
    assert hooked.good("$XCLUSTER where mine") == f"{hooked.ovl}/mine\n"
    hooked.bad("$XCLUSTER where nothing", "ERROR: Ovl not found [nothing]")


def test_our_words_are_still_there(hooked: Upstream) -> None:
    assert hooked.good("$XCLUSTER ovld mine") == f"{hooked.ovl}/mine\n"
    hooked.bad("$XCLUSTER mystrat", "unknown verb 'mystrat'", code=2)


def test_a_word_of_ours_is_replaced(hooked: Upstream) -> None:
    hooked.write(
        "my.hook", 'cmd_ovld() { echo "mine: $(cmd_ovld_of "$1")"; }\ncmd_ovld_of() { $XCLUSTER ovld $1; }\n'
    )
    assert hooked.good("$XCLUSTER ovld mine") == f"mine: {hooked.ovl}/mine\n"


def test_replaced_words_call_each_other(hooked: Upstream) -> None:
    hooked.write(
        "my.hook", "cmd_ovld() { $XCLUSTER status; }\ncmd_status() { echo replaced; $XCLUSTER status; }\n"
    )
    ran = hooked.sh("$XCLUSTER ovld")
    assert ran.out == "replaced\n"
    assert "not running" in ran.err


PREPARE = """
prepare() {
	test "$cmd" != ovld || die "not now"
	__mem=333
	XCLUSTER_HOOK_RAN=yes
	__nets7=0,5
}
"""


def test_prepare_changes_settings(hooked: Upstream) -> None:
    hooked.write("my.hook", PREPARE)
    assert "__mem='333'" in hooked.good("$XCLUSTER env")
    hooked.bad("$XCLUSTER ovld mine", "ERROR: not now")
    pack = 'd=$(mktemp -d)\necho "$__mem $__nets7" >$d/said\ntar -C $d -cf $1 said\nrm -r $d\n'
    hooked.write("ovl/s/tar", f"#!/bin/sh\n{pack}")
    hooked.good("$XCLUSTER cache s; tar -xOf $($XCLUSTER cached_tar s) said >said")
    assert (hooked.root / "said").read_text() == "333 0,5\n"


def test_prepare_may_refuse(hooked: Upstream) -> None:
    hooked.write("my.hook", "prepare() { return 3; }\n")
    hooked.bad("$XCLUSTER status", "prepare failed")


def test_values_that_a_shell_could_misread(hooked: Upstream) -> None:
    hooked.write("my.hook", 'cmd_show() { cmd_env; printf %s "$__append"; }\n')
    nasty = 'it\'s `a` $b "c"  d'
    assert hooked.good("$XCLUSTER show", {"__append": nasty}) == nasty


def test_a_hook_that_is_not_there(upstream: Upstream) -> None:
    upstream.bad("XCLUSTER_HOOK=/no/hook $XCLUSTER status", "/no/hook: No such file")
    assert upstream.good("XCLUSTER_HOOK=/no/hook $XCLUSTER help").startswith("xc VERB")


def test_a_broken_hook(hooked: Upstream) -> None:
    hooked.write("my.hook", "cmd_x() {\n")
    ran = hooked.sh("$XCLUSTER x")
    assert ran.code != 0
    assert "my.hook" in ran.err


def test_what_is_in_xcluster_is_our_xc(hooked: Upstream) -> None:
    hooked.write("my.hook", 'cmd_show() { echo "$XCLUSTER"; }\n')
    assert hooked.good(f"{XC} show", {"XCLUSTER": "/somebody/elses"}) == f"{XC}\n"


def test_a_hook_by_a_relative_path(upstream: Upstream) -> None:
    upstream.write("my.hook", HOOK)
    script = "XCLUSTER_HOOK=my.hook; export XCLUSTER_HOOK; $XCLUSTER where mine"
    assert upstream.good(script) == f"{upstream.ovl}/mine\n"
    upstream.write("ovl/s/tar", "#!/bin/sh\ncd / && $XCLUSTER ovld mine && tar -cf $1 -C /etc hostname\n")
    upstream.good("XCLUSTER_HOOK=my.hook $XCLUSTER cache s")
