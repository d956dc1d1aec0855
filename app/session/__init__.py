"""What a browser session remembers: a module a screen with its keys and typed ways to read and set them."""
