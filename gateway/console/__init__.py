"""What a running process tells of itself, and the few orders that it takes."""
