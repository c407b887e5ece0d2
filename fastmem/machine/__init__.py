"""What the machine gives: threads, memory, files, time, and what is installed."""
