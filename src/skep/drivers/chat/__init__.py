"""The chat driver: a conversation with a model that calls tools, turn by turn."""

from skep.drivers.chat.driver import ChatDriver
from skep.drivers.chat.models import Models

__all__ = ["ChatDriver", "Models"]
