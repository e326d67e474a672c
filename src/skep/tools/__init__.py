"""What a chat agent may call: files of its workspace, commands, and children to delegate to."""
