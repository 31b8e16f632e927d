"""Images that lie unpacked below one directory, as in CVMFS: their names, places and contents."""
