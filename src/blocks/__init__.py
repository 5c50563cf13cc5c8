"""Networks and their parts: functions of tensors. No files, no command line, no data set."""
