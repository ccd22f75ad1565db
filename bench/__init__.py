"""How fast the service is, beside the floor and what one would pick instead: `make bench`."""
