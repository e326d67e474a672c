"""The screens of the room: the main one, and the dialogs that stand over it."""
