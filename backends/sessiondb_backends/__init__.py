"""The built-in backends, one module each; `sessiondb` finds them by name and imports only what a location needs."""
