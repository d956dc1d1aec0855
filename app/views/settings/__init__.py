"""What the Settings page draws."""
