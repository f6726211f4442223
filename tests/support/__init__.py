"""What tests of several files are built of: values, clocks, queues, shared state, and the app between the vendors."""
