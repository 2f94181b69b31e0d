"""IFEval: 25 checks that a program can make of a reply, under two rules.

``voicebench`` drops a speaker tag and a trailing ``<|user|>`` from the reply and ignores arguments
that are null, 0 or empty; ``google`` takes the reply as it is and ignores arguments that are null.
"""
