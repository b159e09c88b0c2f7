"""XCLUSTER_HOOK: verbs of a user's own, and ours replaced."""

import json

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


@pytest.mark.parametrize(
    ("before", "words", "said"),
    [
        ("XC_NVM=5", "counted", "5 128 3"),
        ("XC_NVM=5 __nvm=2 XC_MEM=300", "counted", "5 300 3"),
        ("XC_NVM=5 XC_MEM=300", "counted --nvm=1 --mem=200", "1 200 3"),
        ("XC_NROUTERS=9 XC_NTESTERS=9", "counted", "4 128 3"),  # prepare() has the last word on routers
        ("__mem=256", "counted", "4 256 3"),
    ],
)
def test_settings_by_our_names_are_the_hooks_too(
    hooked: Upstream, before: str, words: str, said: str
) -> None:
    hooked.write(
        "my.hook",
        "prepare() { __nrouters=3; }\n"
        'cmd_counted() { cmd_env; "$XCLUSTER" ours; echo "$__nvm $__mem $__nrouters"; }\n'
        'cmd_ours() { cmd_env; echo "$__nvm $__mem $__nrouters"; }\n',
    )
    assert hooked.good(f"{before} $XCLUSTER {words}") == f"{said}\n{said}\n"


def test_prepare_counts_more_than_a_setting_by_our_name(hooked: Upstream) -> None:
    hooked.write("my.hook", "prepare() { __mem=333; }\n")
    assert "__mem='333'" in hooked.good("XC_MEM=256 $XCLUSTER env")
    assert "__mem='333'" in hooked.good("XC_MEM=256 __mem=200 $XCLUSTER env")


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
    told = f"warning: XCLUSTER_HOOK: {hooked.root}/my.hook: line 2: syntax error"
    for words in ("status", "help", "ovld mine", "ovl:mine"):
        ran = hooked.sh(f"$XCLUSTER {words}")
        assert ran.code == 0 and ran.err.count(told) == 1, ran.err
    stream = hooked.sh("$XCLUSTER status --progress=json").err.splitlines()
    assert told in "".join(json.loads(line).get("text", "") for line in stream)


def test_a_hook_that_stops_a_cluster_and_goes_on(hooked: Upstream) -> None:
    hooked.write(
        "my.hook",
        """cmd_again() {
        cmd_env; touch "$XCLUSTER_TMP/old"; cmd_stop
        [ ! -e "$XCLUSTER_TMP/old" ] && touch "$XCLUSTER_TMP/new" && echo there
        }""",
    )
    assert hooked.good("$XCLUSTER again") == "there\n"
    hooked.good("$XCLUSTER stop")
    assert not (hooked.workspace / "tmp/xcluster").exists()


def test_a_hook_that_is_told_once(hooked: Upstream) -> None:
    """Scripts call us many times, and what they print is judged."""
    hooked.write("my.hook", "fi\n")
    hooked.write("ovl/asks/tar", '#! /bin/sh\n$XCLUSTER ovld mine >asked; tar -cf "$1" asked; rm asked\n')
    ran = hooked.sh("$XCLUSTER ovl:asks")
    assert ran.code == 0 and ran.err.count("syntax error") == 1, ran.err


def test_a_mistyped_verb_of_the_hook(hooked: Upstream) -> None:
    for words in ("mystrat", "help mystrat"):
        hooked.bad(f"$XCLUSTER {words}", "Did you mean 'mystart'", code=2)


def test_what_is_in_xcluster_is_our_xc(hooked: Upstream) -> None:
    hooked.write("my.hook", 'cmd_show() { echo "$XCLUSTER"; }\n')
    assert hooked.good(f"{XC} show", {"XCLUSTER": "/somebody/elses"}) == f"{XC}\n"


def test_a_hook_by_a_relative_path(upstream: Upstream) -> None:
    upstream.write("my.hook", HOOK)
    script = "XCLUSTER_HOOK=my.hook; export XCLUSTER_HOOK; $XCLUSTER where mine"
    assert upstream.good(script) == f"{upstream.ovl}/mine\n"
    upstream.write("ovl/s/tar", "#!/bin/sh\ncd / && $XCLUSTER ovld mine && tar -cf $1 -C /etc hostname\n")
    upstream.good("XCLUSTER_HOOK=my.hook $XCLUSTER cache s")


LOST = """
cmd_plain() { cmd_env; cmd_nosuch 1; echo went on; }
cmd_program() { no-such-program; echo went on; }
cmd_piped() { cmd_nosuch | cat; echo went on; }
cmd_inside() { x=$(cmd_nosuch); echo "went on $x"; }
cmd_below() { ( cmd_nosuch; echo went on ); echo went on; }
cmd_asked() { nothing-such || echo "not there"; if no-such; then echo yes; fi; ! no-such; echo end; }
cmd_failed() { false; ls /no/such/file; echo went on; }
"""


@pytest.mark.parametrize(
    ("verb", "text"),
    [
        ("plain", "line 2: cmd_nosuch: the hook has no such function, and there is no verb nosuch"),
        ("program", "line 3: no-such-program: no such function or program"),
        ("piped", "line 4: cmd_nosuch: the hook"),
        ("inside", "line 5: cmd_nosuch: the hook"),
        ("below", "line 6: cmd_nosuch: the hook"),
    ],
)
def test_a_function_that_is_not_there_ends_it(hooked: Upstream, verb: str, text: str) -> None:
    hooked.write("my.hook", LOST)
    ran = hooked.sh(f"$XCLUSTER {verb}")
    assert (ran.code, ran.out) == (127, "")
    assert f"my.hook: {text}" in ran.err


def test_a_hook_may_ask_whether_something_is_there(hooked: Upstream) -> None:
    hooked.write("my.hook", LOST)
    ran = hooked.sh("$XCLUSTER asked")
    assert (ran.code, ran.out) == (0, "not there\nend\n")
    ran = hooked.sh("$XCLUSTER failed")
    assert (ran.code, ran.out) == (0, "went on\n")


OF_SH = """
cmd_old() {
	cmd_env
	echo "a\\tb|$(basename $me)|$prg|$__nvm $__nrouters $__ntesters|$__nets_vm|$__nets_router"
	test -d $dir/ovl && test -d "$XCLUSTER_TMP" && test -d "$XCLUSTER_HOME" && echo there
	__quiet=yes cmd_status && echo none runs
	cmd_status >/dev/null 2>&1 || echo some run
	local x=1; [ "$x" = 1 ] && echo -n done
}
"""


def test_what_upstreams_own_commands_use(hooked: Upstream) -> None:
    hooked.write("my.hook", OF_SH)
    out = hooked.good("$XCLUSTER old --nrouters=1")
    assert out == "a\tb|xc|xc|4 1 0|0,1|0,1,2\nthere\nnone runs\ndone"


def test_variables_that_change_on_the_way_count_for_the_next_verb(hooked: Upstream) -> None:
    hooked.write(
        "my.hook",
        "cmd_x() { cmd_env; __mem=300; cmd_y; __nets_vm=0,9; cmd_y; }\n"
        "cmd_y() { cmd_ovld mine; $XCLUSTER env; }\n",
    )
    out = hooked.good("$XCLUSTER x")
    assert out.count("__mem='300'") == 2 and out.count("__nets_vm='0,9'") == 1


TOLD = """##  mystart [--nvm=N]
##    Start my cluster
##
cmd_mystart() { :; }

# Look at it
cmd_look() { :; }
cmd_bare() { :; }
"""


def test_verbs_of_a_hook_are_told(hooked: Upstream) -> None:
    hooked.write("my.hook", TOLD)
    shown = hooked.good("$XCLUSTER help")
    assert f"Verbs of your hook, {hooked.root}/my.hook:" in shown
    assert "  mystart          Start my cluster\n  look             Look at it\n  bare " in shown
    for words in ("help mystart", "mystart --help", "mystart -h"):
        assert hooked.good(f"$XCLUSTER {words}").startswith("mystart [--nvm=N]\nStart my cluster\n")
    assert hooked.good("$XCLUSTER completion my") == "mystart\n"
    assert hooked.good("$XCLUSTER __complete my") == "mystart\n"
    assert hooked.good("$XCLUSTER __complete help loo") == "look\n"
