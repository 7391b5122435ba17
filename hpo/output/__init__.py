"""What a process prints: steady standard streams, and the log of each trial."""
