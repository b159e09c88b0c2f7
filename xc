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
	"$@" &
	child=$!
	wait "$child" || { status=$?; child=''; return "$status"; }
	child=''
}

# A caller's settings for Python of its own: with another PYTHONHOME no module of ours is there.
unset PYTHONHOME PYTHONSTARTUP PYTHONOPTIMIZE

# Without another program where that can be: each takes a millisecond of every verb.
here=$0
[ ! -L "$0" ] || here=$(readlink -f "$0")
case $here in */*) here=$(CDPATH='' cd -- "${here%/*}/" && pwd -P) ;; *) here=$(pwd -P) ;; esac
# In an installed package everything is set up.
[ -f "$here/pyproject.toml" ] || exec "${XCLUSTER_PYTHON:-python3}" -P "$here/tasks/cli/installed.py" "$@"
venv=$here/.venv
wheels=$here/workspace/wheels # an unpacked release brings the Python packages along
said() { echo "xc: $*" >&2; }

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
		openssl openssl
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
	elif [ -z "$(bundled_pip)" ] && ! python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then
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
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' && return
	said "Python 3.11 or newer is needed, $(python3 --version 2>&1) is here"
	exit 1
}

# The .venv holds what pyproject.toml names, $1 is the extra set ("" or test). A stamp is written last, so a
# set-up that was interrupted is never taken for a good one.
# It is a copy, with the time of the original: as long as that is the same, nobody has to compare.
is_ready() {
	ready=$venv/ready${1:+-$1}
	[ -f "$ready" ] || return 1
	[ "$here/pyproject.toml" -nt "$ready" ] || [ "$here/pyproject.toml" -ot "$ready" ] || return 0
	cmp -s "$here/pyproject.toml" "$ready" || return 1
	touch -r "$here/pyproject.toml" "$ready" 2>/dev/null || :
}

requirements() {
	python3 - "$here/pyproject.toml" "$1" <<-'END'
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
		interruptible "$venv/bin/python" -m pip "$@" >&2
	elif ! interruptible "$venv/bin/python" "$pip" "$@" pip --no-index --find-links "$wheels" >/dev/null 2>&1; then
		interruptible "$venv/bin/python" "$pip" "$@" pip --find-links "$wheels" >&2
	fi
}

make_venv() {
	check_python
	exec 9>"$here/.venv.lock" || { said "cannot write to $here"; exit 1; }
	flock 9
	is_ready "$1" && return
	wanted=$venv/requirements${1:+-$1}.txt
	if [ -z "$1" ] && ! "$venv/bin/python" -c '' 2>/dev/null; then
		said "setting up .venv"
		rm -rf "$venv"
		if [ -n "$(bundled_pip)" ]; then
			interruptible python3 -m venv --without-pip "$venv"
		else
			interruptible python3 -m venv "$venv"
		fi
	fi
	requirements "$1" >"$wanted.new"
	if ! cmp -s "$wanted.new" "$wanted"; then
		[ ! -f "$wanted" ] || said "updating .venv: pyproject.toml names other packages now"
		install_wheels "$wanted.new" || {
			said "pip could not install what pyproject.toml names; is there a network?"
			exit 1
		}
	fi
	mv "$wanted.new" "$wanted"
	cp -p "$here/pyproject.toml" "$ready.tmp"
	mv "$ready.tmp" "$ready"
	exec 9>&-
}

# set_up LIST EXTRA: the packages of a list, then what pyproject.toml names for it.
set_up() {
	is_ready "$2" && return
	packages=$(missing_packages "$1" | tr '\n' ' ')
	# shellcheck disable=SC2086
	[ -z "${packages% }" ] || install_packages $packages
	make_venv "$2"
}

# Pressing TAB must not set up anything.
case ${1:-} in __complete) [ -f "$venv/ready" ] || exit 0 ;; *) set_up tools "" ;; esac
case ${1:-} in test) set_up test_tools test ;; esac

# A caller's words may be paths relative to where it stands; the module is found by PYTHONPATH alone (-P).
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
# Compiled modules are kept, but beside the .venv, not all over the checkout.
export PYTHONPYCACHEPREFIX="$venv/pycache"
unset PYTHONDONTWRITEBYTECODE
# While Python is being loaded it answers Ctrl-C with a traceback: signals wait until it handles them (base/signals).
blocks=$venv/env-blocks
if [ ! -e "$blocks" ]; then
	answer=$(env --block-signal=INT echo yes 2>/dev/null) || answer=''
	printf %s "$answer" 2>/dev/null >"$blocks" || :
fi
# -S: site-packages come into play when something of them is needed (tasks/__main__.py).
[ ! -s "$blocks" ] || exec env --block-signal=HUP,INT,QUIT,TERM "$venv/bin/python" -S -P "$here/tasks/__main__.py" "$@"
exec "$venv/bin/python" -S -P "$here/tasks/__main__.py" "$@"
