"""What `hpo init NAME` writes: these two files, with NAME in place of `starter`."""
