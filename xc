#!/bin/sh
# xc VERB [OPTIONS] [WORDS]: the door to everything; sets up what is missing first. `xc help` lists the verbs.
set -eu

# A signal during the set-up ends what it started, with one line and 128+n. Python sees to the rest.
child='' scrap=''
ended() {
	trap '' HUP INT QUIT TERM
	[ -z "$child" ] || { kill "$child" 2>/dev/null && wait "$child"; } || :
	[ -z "$scrap" ] || rm -f "$scrap"
	[ "$1" = INT ] && echo interrupted >&2 || echo "ended by SIG$1" >&2
	exit "$2"
}
trap 'ended HUP 129' HUP
trap 'ended INT 130' INT
trap 'ended QUIT 131' QUIT
trap 'ended TERM 143' TERM

# interruptible COMMAND: a shell that waits for a command in the foreground would see a signal only after it.
interruptible() {
	(plain_environment; exec "$@") &
	child=$!
	wait "$child" || { status=$?; child=''; return "$status"; }
	child=''
}

# Without another program where that can be: each takes a millisecond of every verb.
here=$0
[ ! -L "$0" ] || here=$(readlink -f "$0")
case $here in */*) here=$(CDPATH='' cd -- "${here%/*}/" && pwd -P) ;; *) here=$(pwd -P) ;; esac
# In an installed package everything is set up.
[ -f "$here/pyproject.toml" ] || exec "${XCLUSTER_PYTHON:-python3}" -I -X utf8 "$here/tasks/cli/installed.py" "$@"
venv=$here/.venv
wheels=$here/workspace/wheels # an unpacked release brings the Python packages along
said() { echo "xc: $*" >&2; }

# plain COMMAND: without a caller's variables for Pythons of its own, in which nothing of ours may be there.
plain() (
	plain_environment
	exec "$@"
)

plain_environment() {
	unset PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONOPTIMIZE PYTHONWARNINGS PYTHONINSPECT PYTHONPLATLIBDIR
	unset PYTHONUSERBASE PYTHONEXECUTABLE PYTHONSAFEPATH PYTHONIOENCODING PYTHONTRACEMALLOC
	unset PYTHONMALLOC PYTHONDONTWRITEBYTECODE
	export PYTHONNOUSERSITE=1
}

# Debian packages without which nothing works: "program package".
tools() {
	cat <<-END
		qemu-system-x86_64 qemu-system-x86
		qemu-img qemu-utils
		mke2fs e2fsprogs
		ssh openssh-client
		socat socat
		dnsmasq dnsmasq-base
		depmod kmod
		ip iproute2
		nft nftables
		slirp4netns slirp4netns
	END
}

# What `test` needs besides: to compile a kernel, and to look at what was built with other people's eyes.
test_tools() {
	cat <<-END
		gcc gcc
		make make
		flex flex
		bison bison
		bc bc
		patch patch
		cpio cpio
		xorriso xorriso
		xz xz-utils
		git git
		ip iproute2
		dropbearconvert dropbear-bin
		shellcheck shellcheck
		gpg gpg
		gpgv gpgv
		dot graphviz
		pasta passt
		sqfstar squashfs-tools
		skopeo skopeo
		dig bind9-dnsutils
		netstat net-tools
		iptables iptables
		openssl openssl
		Xvfb xvfb
		xterm xterm
		xwininfo x11-utils
		zsh zsh
	END
}

test_headers() {
	[ -f /usr/include/libelf.h ] || echo libelf-dev
	[ -f /usr/include/openssl/ssl.h ] || echo libssl-dev
}

bundled_pip() {
	for wheel in "$wheels"/pip-*.whl; do
		[ ! -f "$wheel" ] || echo "$wheel/pip"
	done
}

missing_packages() {
	PATH=$PATH:/usr/sbin:/sbin
	"$1" | while read -r program package; do
		command -v "$program" >/dev/null 2>&1 || echo "$package"
	done
	[ "$1" = tools ] || { test_headers; return; }
	if ! command -v python3 >/dev/null 2>&1; then
		echo python3 python3-venv
	elif [ -z "$(bundled_pip)" ] && ! plain python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then
		echo python3-venv
	fi
}

install_packages() {
	command="env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $*"
	if ! command -v apt-get >/dev/null 2>&1; then
		said "missing Debian packages: $*"
		said "this host has no apt-get; install what they contain, then run again"
		exit 1
	fi
	as=
	if [ "$(id -u)" -ne 0 ]; then
		if command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
			as=sudo
		else
			said "these Debian packages are missing; as root run:"
			said "  apt-get update && ${command#env * }"
			exit 1
		fi
	fi
	if [ -t 0 ] && [ -t 2 ]; then
		printf 'xc: %s is needed. Install now with "%s"? [Y/n] ' "$*" "${as:+$as }${command#env * }" >&2
		read -r answer
		case $answer in [nN]*) exit 1 ;; esac
	else
		said "installing $*"
	fi
	log=$(mktemp)
	scrap=$log
	# In the foreground: dpkg has to end what it has begun.
	# shellcheck disable=SC2086
	if ! { $as apt-get update && $as $command; } >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		rm -f "$log"
		said "apt-get could not install $*"
		exit 1
	fi
	rm -f "$log"
}

check_python() {
	plain python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' && return
	said "Python 3.11 or newer is needed, $(plain python3 --version 2>&1) is here"
	exit 1
}

# The .venv holds what pyproject.toml names, $1 is the extra set ("" or test). A stamp is written last, so a
# set-up that was interrupted is never taken for a good one.
# It is a copy, with the time of the original: as long as that is the same, nobody has to compare.
is_ready() {
	ready=$venv/ready${1:+-$1}
	[ -f "$ready" ] || return 1
	is_as_made || return 1
	is_current
}

# Two more stamps have the times of the interpreter and of the directory of packages: the host's Python may
# have been upgraded, or a package removed.
is_as_made() {
	is_same "$venv/bin/python" "$venv/made-by" || return 1
	for lib in "$venv"/lib/python3*; do
		is_same "$lib/site-packages" "$venv/made-of-${lib##*/}" || return 1
	done
}

is_same() { [ -e "$1" ] && [ -f "$2" ] && ! [ "$1" -nt "$2" ] && ! [ "$1" -ot "$2" ]; }

is_current() {
	[ "$here/pyproject.toml" -nt "$ready" ] || [ "$here/pyproject.toml" -ot "$ready" ] || return 0
	cmp -s "$here/pyproject.toml" "$ready" || return 1
	touch -r "$here/pyproject.toml" "$ready" 2>/dev/null || :
}

requirements() {
	plain python3 - "$here/pyproject.toml" "$1" <<-'END'
		import sys, tomllib
		project = tomllib.load(open(sys.argv[1], "rb"))["project"]
		print("\n".join(project["optional-dependencies"][sys.argv[2]] if sys.argv[2] else project["dependencies"]))
	END
}

# install_wheels FILE: what FILE names, from what a release brings along where that will do, else from the network.
install_wheels() {
	set -- install --quiet --disable-pip-version-check --requirement "$1"
	pip=$(bundled_pip)
	if [ -z "$pip" ]; then
		bounded "$venv/bin/python" -m pip "$@" >&2
	elif ! interruptible "$venv/bin/python" "$pip" "$@" pip --no-index --find-links "$wheels" >/dev/null 2>&1; then
		bounded "$venv/bin/python" "$pip" "$@" pip --find-links "$wheels" >&2
	fi
}

# bounded COMMAND: told after 3 s, and ended when it takes too long: pip waits as long as a server says.
bounded() {
	(
		sleep 3 &
		trap 'kill $!; exit' TERM
		wait $!
		said "waiting for the index of Python packages; it is given up after ${XCLUSTER_SETUP_TIMEOUT:-900} s at the latest"
	) &
	note=$!
	status=0
	interruptible timeout "${XCLUSTER_SETUP_TIMEOUT:-900}" "$@" || status=$?
	kill "$note" 2>/dev/null || :
	return "$status"
}

# The packages in .venv of which every file is there, a line each; it fails if there are others.
inventory() {
	plain "$venv/bin/python" - <<-'END'
		import sys
		from importlib import metadata
		lacking = 0
		for package in metadata.distributions():
		    if all(str(file).endswith(".pyc") or file.locate().exists() for file in package.files or ()):
		        print(package.name, package.version)
		    else:
		        lacking += 1
		sys.exit(lacking > 0)
	END
}

# Whether .venv has what it had when it was made.
is_whole() {
	[ -f "$venv/packages" ] || return 1
	now=$(inventory 2>/dev/null) || :
	while read -r package; do
		case "
$now
" in *"
$package
"*) ;; *) return 1 ;; esac
	done <"$venv/packages"
}

note_packages() {
	inventory >"$venv/packages.tmp" || :
	mv "$venv/packages.tmp" "$venv/packages"
	touch -r "$venv/bin/python" "$venv/made-by"
	for lib in "$venv"/lib/python3*; do
		touch -r "$lib/site-packages" "$venv/made-of-${lib##*/}"
	done
}

new_venv() {
	rm -rf "$venv"
	if [ -n "$(bundled_pip)" ]; then
		interruptible python3 -m venv --without-pip "$venv"
	else
		interruptible python3 -m venv "$venv"
	fi
}

# Before anything is made: the module venv refuses such a path with words that are meant for programmers.
check_path() {
	case $here in *:*)
		said "Python makes no .venv in a path with ':', as this checkout has it: $here; move it, or rename the directory"
		exit 1
		;;
	esac
}

# Whether it is another user's .venv, which this one cannot use.
check_reach() {
	[ -d "$venv" ] || return 0
	if [ -x "$venv" ] && { [ ! -L "$venv/bin/python" ] || [ -x "$venv/bin/python" ]; }; then
		return 0
	fi
	said "the Python of .venv cannot be reached by this user ($(id -un)): $(readlink -m "$venv/bin/python")"
	said "make it and the directories above it readable for this user, or use a checkout of your own"
	exit 1
}

make_venv() {
	check_python
	if ! (: >>"$here/.venv.lock") 2>/dev/null || { [ -d "$venv" ] && [ ! -w "$venv" ]; }; then
		is_whole && is_current && return
		check_reach
		said "cannot write to $here, where .venv has to be made"
		exit 1
	fi
	exec 9>"$here/.venv.lock"
	flock 9
	is_ready "$1" && return
	wanted=$venv/requirements${1:+-$1}.txt
	if [ ! -f "$venv/requirements.txt" ]; then # there is none, or it is half-made
		said "setting up .venv"
		new_venv
	elif { [ -f "$venv/packages" ] && ! is_whole; } || ! inventory >/dev/null 2>&1; then
		said "making .venv anew: packages of it are missing, or Python is another one now"
		new_venv
	fi
	requirements "$1" >"$wanted.new"
	if ! cmp -s "$wanted.new" "$wanted" || [ ! -f "$venv/packages" ]; then
		[ ! -f "$wanted" ] || cmp -s "$wanted.new" "$wanted" || said "updating .venv: pyproject.toml names other packages now"
		install_wheels "$wanted.new" || {
			said "pip could not install what pyproject.toml names; is there a network?"
			exit 1
		}
	fi
	mv "$wanted.new" "$wanted"
	note_packages
	cp -p "$here/pyproject.toml" "$ready.tmp"
	mv "$ready.tmp" "$ready"
	exec 9>&-
}

# set_up LIST EXTRA: the packages of a list, then what pyproject.toml names for it.
set_up() {
	is_ready "$2" && return
	check_path
	packages=$(missing_packages "$1" | tr '\n' ' ')
	# shellcheck disable=SC2086
	[ -z "${packages% }" ] || install_packages $packages
	make_venv "$2"
}

# Pressing TAB must not set up anything.
case ${1:-} in __complete) [ -f "$venv/ready" ] && [ -x "$venv/bin/python" ] || exit 0 ;; *) set_up tools "" ;; esac
case ${1:-} in test) set_up test_tools test ;; esac

# This one changes even an isolated Python.
unset PYTHONEXECUTABLE
# While Python is being loaded it answers Ctrl-C with a traceback: signals wait until it handles them (base/signals).
blocks=$venv/env-blocks
if [ ! -e "$blocks" ]; then
	answer=$(env --block-signal=INT echo yes 2>/dev/null) || answer=''
	printf %s "$answer" 2>/dev/null >"$blocks" || :
fi
# -I, utf8: a caller's variables and locale are for programs of its own (tasks/base/interpreter.py).
# -S: site-packages come into play when something of them is needed (tasks/__main__.py).
# Compiled modules are kept, but beside the .venv, not all over the checkout.
set -- "$venv/bin/python" -I -S -X utf8 -X "pycache_prefix=$venv/pycache" "$here/tasks/__main__.py" "$@"
# env would take a path with "=" for a variable.
case $venv in *=*) set -- sh -c 'exec "$@"' sh "$@" ;; esac
[ ! -s "$blocks" ] || set -- env --block-signal=HUP,INT,QUIT,TERM "$@"
exec "$@"
