"""One module for each route or family of routes."""
