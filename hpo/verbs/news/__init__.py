"""What is told of a command while it works, beside what a terminal shows: a line a trial, and notifications."""
