"""The papers' tables made to run: users of the library."""
