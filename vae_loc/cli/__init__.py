"""The command line, one file for each command: parse options, call one function of the library, print its outcome.

An *option group* is a frozen dataclass whose fields become options of their own (`option_groups`).
"""
