#!/bin/sh
# hook.sh own|ours HOOK VERB [--OPTION...] [WORD...]: source a user's hook, then do the verb.
#
# The hook sees the settings as variables, our verbs as functions (cmd_stop is `xc stop`), die, and the verb
# in $cmd. Variables __* that prepare() or the hook set count as settings of the verb.
whose=$1 hook=$2 cmd=$3
shift 3

die() {
	echo "ERROR: $*" >&2
	exit 1
}

for word in $XC_VERBS; do
	eval "cmd_$word() { \"\$XCLUSTER\" $word \"\$@\"; }"
done

# As upstream: --foo-bar=x before the first word is the variable __foo_bar.
while [ "$whose" = own ] && [ $# -gt 0 ]; do
	case $1 in
	--*=*)
		xc_name=__$(echo "${1%%=*}" | cut -c3- | tr - _)
		xc_now=${1#*=} ;;
	--*)
		xc_name=__$(echo "$1" | cut -c3- | tr - _)
		xc_now=yes ;;
	*) break ;;
	esac
	case $xc_name in
	*[!A-Za-z0-9_]*) die "not an option: $1" ;;
	esac
	eval "$xc_name=\$xc_now"
	# shellcheck disable=SC2163
	export "$xc_name"
	shift
done

xc_settings=$("$XCLUSTER" env) || exit 1
: "${xcluster_PREFIX:=fd00:}" # if it was exported, guests get this too

# cmd_env: the settings as variables, where the hook has not set its own.
cmd_env() {
	[ -n "$xc_prepared" ] && return 0
	xc_prepared=yes
	eval "$xc_settings"
	if type prepare >/dev/null 2>&1; then
		prepare || die "prepare failed in $hook"
	fi
	xc_export
}

# xc_export: what differs from the defaults is for the programs that are called, too.
xc_export() {
	for xc_name in $(set | sed -n 's/^\(__[A-Za-z0-9_]*\)=.*/\1/p'); do
		eval "xc_now=\$$xc_name"
		xc_was=$(
			unset "$xc_name"
			eval "$xc_settings"
			eval "printf %s \"\$$xc_name\""
		)
		# shellcheck disable=SC2163,SC2154
		[ "$xc_now" = "$xc_was" ] || export "$xc_name"
	done
}

xc_prepared=''
# shellcheck disable=SC1090
. "$hook" || die "cannot read $hook"

if [ "$whose" = ours ]; then
	cmd_env
	if [ "$cmd" = env ]; then
		exec "$XCLUSTER" env "$@"
	fi
	exec "$XCLUSTER" "$cmd" "$@"
fi

cmd_env
"cmd_$cmd" "$@"
