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
