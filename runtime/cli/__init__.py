"""The command line: a module for each subcommand, and what they share.

main           the command ``ratehold``; imports a subcommand's module when it was typed
program        exit statuses, messages, names; every program of export and bench uses it too
programs       the benchmarks, described without an import
parser         shows defaults, guesses what was meant
files          ``-``, ``--json PATH``
"""
