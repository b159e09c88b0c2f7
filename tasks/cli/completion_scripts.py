"""What each shell needs to complete the words of xc: a few lines that ask `xc __complete`."""

from __future__ import annotations

from collections.abc import Mapping

BASH = """\
# shellcheck shell=bash
# Completion of xc for bash. Source it: . completion/xc.bash, or . <(xc completion bash)

_xc() {
	local xc=${BASH_ALIASES[$1]:-$1} line=${COMP_LINE:0:COMP_POINT} words
	read -ra words <<<"$line"
	[[ $line != *[[:space:]] ]] || words+=("")
	local current=${words[-1]} part=${COMP_WORDS[COMP_CWORD]}
	mapfile -t COMPREPLY < <("$xc" __complete "${words[@]:1}" 2>/dev/null)
	[[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != *= ]] || compopt -o nospace
	# bash completes what stands behind the last : or = of a word.
	[[ $part != [:=] ]] || part=
	COMPREPLY=("${COMPREPLY[@]#"${current%"$part"}"}")
}
# Where xc has nothing to say, the word is the name of a file.
complete -o default -F _xc xc ./xc
"""

ZSH = """\
#compdef xc
# Completion of xc for zsh. Put it as _xc into a directory of fpath, before compinit.

_xc() {
	local xc=${aliases[$words[1]]:-$words[1]}
	local -a names whole
	names=(${(f)"$($xc __complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
	whole=(${names:#*=})
	(( $#names )) || { _files; return }
	compadd -- $whole
	compadd -S '' -- ${(M)names:#*=}
}

_xc "$@"
"""

FISH = """\
# Completion of xc for fish. Put it into ~/.config/fish/completions, or: xc completion fish | source

function __xc_complete
	set -l words (commandline --tokenize --cut-at-cursor --current-process)
	set -l xc $words[1]
	set -e words[1]
	set -l names ($xc __complete $words (commandline --current-token --cut-at-cursor) 2>/dev/null)
	# Where xc has nothing to say, the word is the name of a file.
	if test (count $names) -gt 0
		printf '%s\\n' $names
	else
		__fish_complete_path (commandline --current-token)
	end
end
complete --command xc --no-files --arguments '(__xc_complete)'
"""

SCRIPTS: Mapping[str, str] = {"bash": BASH, "zsh": ZSH, "fish": FISH}
FILES: Mapping[str, str] = {"bash": "xc.bash", "zsh": "_xc", "fish": "xc.fish"}
