"""What writes captions: one file per back end, imported only when it is chosen, behind one protocol."""
