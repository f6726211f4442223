"""`msisync completion`: scripts that complete commands, options and values, made from the parser of the command line.

The scripts are static: a shell that completes starts no Python, which would take most of a second a time.
"""
