"""Pages: what every web page stands on; its door, its errors, its server, its viewer."""
