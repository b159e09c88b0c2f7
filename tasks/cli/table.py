"""Every verb in one table: what it is called, which module does it, what it needs, its options, its help.

The command line, `xc help`, the man page, completion and doit's tasks come from here. A module that does
verbs has DOES, name -> function of the project; it is imported when one of them is called, not before.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from tasks.cli import table_builds, table_clusters, table_namespaces, table_nodes, table_upstream
from tasks.definitions.upstream_names import TYPED
from tasks.project.command_line import JSON, Reads, Verb

HELP = (
    Verb(
        "help",
        "tasks.cli.help_text",
        "tell all verbs, or how one is used",
        "[VERB]",
        examples=("xc help start", "xc start --help"),
        most=1,
        kinds=("verb",),
    ),
    Verb(
        "version",
        "tasks.cli.version",
        "name and version, and the commit of a checkout",
        options=(JSON,),
        examples=("xc version", "xc version -o json"),
        most=0,
    ),
)

GROUPS = {
    "Clusters": table_clusters.VERBS,
    "Nodes and nets of a running cluster": table_nodes.VERBS,
    "Network namespaces": table_namespaces.VERBS,
    "Builds": table_builds.VERBS,
    "This tool": (*table_builds.TOOL, *HELP),
    "Words of doit": table_builds.DOIT,
    "Words of xcluster, for its scripts": table_upstream.VERBS,
}


def _as_typed(verbs: dict[str, Verb], word: str) -> dict[str, Verb]:
    """The same verbs; if xcluster's `word` was typed, which comes to one of them, they tell of that word."""
    typed = verbs.get(word)
    return {name: replace(verb, typed=typed) for name, verb in verbs.items()} if typed else verbs


# The variable is for this process alone: scripts that it runs type words of their own.
VERBS: dict[str, Verb] = _as_typed(
    {verb.name: verb for verbs in GROUPS.values() for verb in verbs}, os.environ.pop(TYPED, "")
)
MADE = ("mkcdrom", "release")  # verbs whose task is one that builds
# Tasks and groups of tasks that can be built by this word alone.
NOUNS = ("suite", "artifact", "kernel", "headers", "image", "ovl", "pull", "store", "golden")


def own() -> list[Verb]:
    """Every verb but the words of doit."""
    return [verb for verb in VERBS.values() if verb.reads is not Reads.DOIT]


def is_upstream(verb: Verb, args: Sequence[str]) -> bool:
    """Whether xcluster's word is meant: the verb has the name of one, and its args name no action of ours."""
    shared = verb.upstream != verb.module
    return bool(verb.upstream) and not (shared and args[:1] and args[0] in (*verb.actions, "-h", "--help"))
