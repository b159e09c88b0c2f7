# Completion of xc for fish. Put it into ~/.config/fish/completions, or: xc completion fish | source

function __xc_complete
	set -l words (commandline --tokenize --cut-at-cursor --current-process)
	set -l xc $words[1]
	set -e words[1]
	set -l names ($xc __complete $words (commandline --current-token --cut-at-cursor) 2>/dev/null)
	# Where xc has nothing to say, the word is the name of a file.
	if test (count $names) -gt 0
		printf '%s\n' $names
	else
		__fish_complete_path (commandline --current-token)
	end
end
complete --command xc --no-files --arguments '(__xc_complete)'
