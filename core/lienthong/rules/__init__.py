"""Decision 28 and the packet format as pure functions: each looks at a message and says yes, or why not."""
