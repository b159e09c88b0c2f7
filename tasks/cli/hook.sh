#!/bin/bash
# hook.sh own|ours HOOK VERB [--OPTION...] [WORD...]: source a user's hook, then do the verb.
#
# The hook sees the settings as variables, our verbs as functions (cmd_stop is `xc stop`), die, and the verb
# in $cmd. Variables __* that prepare() or the hook set count as settings of the verbs that it calls.
# Hooks are written for sh, and bash runs them so that a command that is not there ends them.
shopt -s xpg_echo
set -E
whose=$1 hook=$2 cmd=$3
shift 3

die() {
	echo "ERROR: $*" >&2
	exit 1
}

# A function of ours that is not there ends the hook. So does another command that is not there, unless the hook
# asks whether it succeeds (if, ||, &&, !).
command_not_found_handle() {
	local where="${BASH_SOURCE[1]:-$hook}: line ${BASH_LINENO[0]}"
	case $1 in
	cmd_*)
		echo "ERROR: $where: $1: the hook has no such function, and there is no verb ${1#cmd_}" >&2
		kill -s USR1 $$ ;;
	*) echo "ERROR: $where: $1: no such function or program" >&2 ;;
	esac
	return 127
}
xc_lost() {
	[ "$1" -eq 127 ] || return 0
	[ "$BASHPID" = $$ ] || kill -s USR1 $$
	exit 127
}
trap 'exit 127' USR1
trap 'xc_lost $?' ERR

# Variables of upstream's script that its commands use.
# shellcheck disable=SC2034
{
	me=$XCLUSTER
	prg=${XCLUSTER##*/}
	dir=${XCLUSTER%/*}
	tmp=${TMPDIR:-/tmp}/${prg}_$$
}

for word in $XC_VERBS; do
	eval "cmd_$word() { xc_export; \"\$XCLUSTER\" $word \"\$@\"; }"
done

# As upstream's: the exit code is the number of nodes that run.
cmd_status() {
	xc_export
	[ -n "$__quiet" ] || "$XCLUSTER" status "$@" || return
	"$XCLUSTER" status --quiet "$@"
}

# As upstream: --foo-bar=x before the first word is the variable __foo_bar.
while [ "$whose" = own ] && [ $# -gt 0 ]; do
	case $1 in
	--*=*)
		xc_name=__$(echo "${1%%=*}" | cut -c3- | tr - _)
		xc_now=${1#*=} ;;
	--*)
		xc_name=__$(echo "$1" | cut -c3- | tr - _)
		# shellcheck disable=SC2034
		xc_now=yes ;;
	*) break ;;
	esac
	case $xc_name in
	*[!A-Za-z0-9_]*) die "not an option: $1" ;;
	esac
	eval "$xc_name=\$xc_now"
	# shellcheck disable=SC2163
	export "$xc_name"
	xc_now=${xc_name#__}
	unset "XC_${xc_now^^}" # what is typed counts more
	shift
done

xc_settings=$("$XCLUSTER" env) || exit 1
eval "$(printf '%s\n' "$xc_settings" | sed 's/^/xc_default_/')"
: "${xcluster_PREFIX:=fd00:}" # if it was exported, guests get this too

# cmd_env: the settings as variables, where the hook has not set its own.
cmd_env() {
	[ -n "$xc_prepared" ] && return 0
	xc_prepared=yes
	eval "$xc_settings"
	for xc_name in $XC_COUNTS; do
		eval ": \"\${${xc_name%%=*}:=${xc_name#*=}}\" \"\${xc_default_${xc_name%%=*}:=${xc_name#*=}}\""
	done
	if [ "$cmd" != env ]; then
		mkdir -p "$XCLUSTER_HOME" "$XCLUSTER_TMP" || die "cannot make $XCLUSTER_TMP"
	fi
	if type prepare >/dev/null 2>&1; then
		prepare || die "prepare failed in $hook"
	fi
	xc_export
}

# xc_export: what differs from the defaults is for the programs that are called, too.
xc_export() {
	for xc_name in ${!__@} xtermopt xopt XCLUSTER_LAYOUT XCLUSTER_OFFSET; do
		xc_default=xc_default_$xc_name
		# shellcheck disable=SC2163
		[ "${!xc_name-}" = "${!xc_default-}" ] || export "$xc_name"
	done
}

xc_prepared=''
# shellcheck disable=SC1090
. "$hook" || die "cannot read $hook"

if [ "$whose" = ours ]; then
	cmd_env
	trap - ERR USR1
	if [ "$cmd" = env ]; then
		exec "$XCLUSTER" env "$@"
	fi
	exec "$XCLUSTER" "$cmd" "$@"
fi

cmd_env
"cmd_$cmd" "$@"
