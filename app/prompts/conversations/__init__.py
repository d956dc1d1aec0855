"""Conversations that other programs exported, as trees of messages: whole for Chat, or turn by turn as prompts."""
