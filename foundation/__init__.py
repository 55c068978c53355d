"""What every layer stands on: errors, problems, texts from outside, log lines, the start of a process."""
