"""Layouts: what is to be painted, and what can be done to it; pure maps, nothing here touches a disk.

`layout` holds the Layout, `tissue` finds it in scans, `atlas` has the brain of nobody; `priors` know what tumours and
brains are like, `edits` change a layout (by an `edits.policy`), `law` judges it, `sampler` draws endless lawful ones,
as a `plan` wants them if there is one; `facts` says what a tumour is like.
"""
