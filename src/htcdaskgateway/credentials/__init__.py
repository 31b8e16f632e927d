"""The user's credentials: what there is, whether it will do, when it changed.

A layer of its own below everything that submits: it knows files, certificates and claims, not HTCondor.
No key and no token leaves it, but for the copy that `copy_credential` makes in a private directory.
"""
