"""Other libraries, each in a process and an environment of its own, timed in turns with this one.

The files here are run by the peers' interpreter and import nothing of the library.
"""
