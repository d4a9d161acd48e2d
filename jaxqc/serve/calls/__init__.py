"""The calls of the server, a file a group: each adds its routes by `add(app, service)`."""
