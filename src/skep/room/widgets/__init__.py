"""What the room draws with: own widgets on the line API, each beside the messages that it posts."""
